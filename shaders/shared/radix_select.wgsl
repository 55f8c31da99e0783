// The value of a rank from the top, found digit by digit, four bits each, from the highest down.
// For each place every lane adds its values; after a barrier all lanes pick one and the same digit.
// Expects `WORKGROUP_SIZE`, and `counts: array<atomic<u32>, 256>` in workgroup memory.

struct Selection {
    known: u32, // the digits found so far, the others 0
    rank: u32,  // from 1, among the values that begin with them
}

fn clear_counts(lane: u32) {
    for (var i = lane; i < 256u; i += WORKGROUP_SIZE) {
        atomicStore(&counts[i], 0u);
    }
}

fn shift_of(place: u32) -> u32 {
    return 28u - 4u * (place % 8u);
}

fn add_value(place: u32, selection: Selection, value: u32) {
    let digit = (value ^ selection.known) >> shift_of(place);
    if digit < 16u {
        atomicAdd(&counts[16u * place + digit], 1u);
    }
}

fn pick_digit(place: u32, selection: Selection) -> Selection {
    var rank = selection.rank;
    var digit = 15u;
    var n = atomicLoad(&counts[16u * place + digit]);
    while n < rank && digit > 0u {
        rank -= n;
        digit--;
        n = atomicLoad(&counts[16u * place + digit]);
    }
    return Selection(selection.known | (digit << shift_of(place)), rank);
}
