// The function between the two maps of an MLP. Expects `ACTIVATION`.

fn gelu_tanh(v: f32) -> f32 {
    // tanh overflows on some drivers, and is 1 to the last bit from 10 on.
    let inner = clamp(0.7978845608 * (v + 0.044715 * v * v * v), -15.0, 15.0);
    return 0.5 * v * (1.0 + tanh(inner));
}

fn silu(v: f32) -> f32 {
    // exp overflows below -88, where the result is 0 to the last bit that f32 has near 1.
    return v / (1.0 + exp(-max(v, -88.0)));
}

// v/2 erfc(-v / sqrt(2)). Of z = |v| / sqrt(2), erfc(z) = t P(t) exp(-z * z) with
// t = 1 / (1 + 0.304 |v|), and P is the polynomial whose largest relative error up to z = 10 is the
// smallest, 1.0e-7. No difference of close numbers is taken, so that the results of negative `v`,
// which tend to zero, have few wrong bits, too.
fn gelu(v: f32) -> f32 {
    // From here on erfc is 0 to the last bit.
    let size = min(abs(v), 16.0);
    let t = 1.0 / fma(0.304, size, 1.0);
    var p = 0.073119455;
    p = fma(p, t, -0.308175307);
    p = fma(p, t, 0.380314626);
    p = fma(p, t, -0.0826174672);
    p = fma(p, t, 0.245228644);
    p = fma(p, t, 0.205400612);
    p = fma(p, t, 0.244254503);
    p = fma(p, t, 0.242474914);
    let tail = t * p * exp(-0.5 * size * size);
    return 0.5 * v * select(2.0 - tail, tail, v < 0.0);
}

fn activated(v: f32) -> f32 {
    if ACTIVATION == 1u {
        return gelu_tanh(v);
    }
    if ACTIVATION == 2u {
        return silu(v);
    }
    if ACTIVATION == 3u {
        return gelu(v);
    }
    // What is not a number stays so.
    let positive = select(v, 0.0, v < 0.0);
    if ACTIVATION == 4u {
        return positive;
    }
    if ACTIVATION == 5u {
        return positive * positive;
    }
    return v;
}
