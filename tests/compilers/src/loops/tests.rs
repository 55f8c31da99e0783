//! Assembly that the driver wrote for kernels of `planted/`, and some that is made up.

use super::{Loads, Loop, busiest};
use crate::assembly::Program;

/// `sum` on RDNA3, without its arithmetic.
const NAVI31: &str = "\
BB0:
    s_mov_b32 s0, s3
    s_movk_i32 s3, 0x8000
    s_load_b128 s[4:7], s[2:3], 0x10
    v_lshl_add_u32 v0, s0, 6, v0
    s_waitcnt lgkmcnt(0)
    s_lshr_b32 s1, s6, 4
    s_set_inst_prefetch_distance 0x1
BB1:
    s_mov_b64 s[8:9], exec
    v_cmpx_le_u32_e32 s1, v1
BB2:
    s_and_not1_b64 s[8:9], s[8:9], exec
    s_cbranch_scc0 BB10
BB9:
    s_mov_b64 exec, s[8:9]
    s_load_b128 s[8:11], s[2:3], null
    v_lshlrev_b32_e32 v2, 4, v1
    buffer_load_b128 v[8:11], v2, s[4:7], 0 offen
    v_lshlrev_b32_e32 v3, 5, v1
    s_waitcnt lgkmcnt(0)
    s_clause 0x1
    buffer_load_b128 v[12:15], v3, s[8:11], 0 offen
    buffer_load_b128 v[16:19], v3, s[8:11], 0 offen offset:16
    v_add_nc_u32_e32 v1, 64, v1
    s_waitcnt vmcnt(2)
    s_waitcnt vmcnt(0)
    s_branch BB1
BB10:
    s_set_inst_prefetch_distance 0x3
    s_load_b128 s[0:3], s[2:3], 0x20
    s_mov_b64 exec, -1
    v_lshlrev_b32_e32 v0, 4, v0
    s_waitcnt lgkmcnt(0)
    buffer_store_b128 v[4:7], v0, s[0:3], 0 offen
    s_endpgm
";

/// `sum` on RDNA2, as a whole.
const NAVI21: &str = "\
BB0:
    s_mov_b32 s0, s3
    s_movk_i32 s3, 0x8000
    s_load_dwordx4 s[4:7], s[2:3], 0x10
    v_lshrrev_b64 v[4:5], 0, 0
    v_lshrrev_b64 v[6:7], 0, 0
    v_lshl_add_u32 v0, s0, 6, v0
    v_mov_b32_e32 v1, v0
    s_waitcnt lgkmcnt(0)
    s_lshr_b32 s1, s6, 4
    s_inst_prefetch 0x1
BB1:
    s_mov_b64 s[8:9], exec
    v_cmpx_le_u32_e32 s1, v1
BB2:
    s_andn2_b64 s[8:9], s[8:9], exec
    s_cbranch_scc0 BB10
BB9:
    s_mov_b64 exec, s[8:9]
    s_load_dwordx4 s[8:11], s[2:3], null
    v_lshlrev_b32_e32 v2, 4, v1
    buffer_load_dwordx4 v[8:11], v2, s[4:7], 0 offen
    v_lshlrev_b32_e32 v3, 5, v1
    s_waitcnt lgkmcnt(0)
    s_clause 0x1
    buffer_load_dwordx4 v[12:15], v3, s[8:11], 0 offen
    buffer_load_dwordx4 v[16:19], v3, s[8:11], 0 offen offset:16
    v_add_nc_u32_e32 v1, 64, v1
    s_waitcnt vmcnt(2)
    v_cvt_f32_u32_e32 v8, v8
    v_cvt_f32_u32_e32 v9, v9
    v_cvt_f32_u32_e32 v10, v10
    v_cvt_f32_u32_e32 v11, v11
    s_waitcnt vmcnt(0)
    v_add_f32_e32 v18, v18, v14
    v_add_f32_e32 v19, v19, v15
    v_add_f32_e32 v16, v16, v12
    v_add_f32_e32 v17, v17, v13
    v_fmac_f32_e32 v6, v10, v18
    v_fmac_f32_e32 v7, v11, v19
    v_fmac_f32_e32 v4, v8, v16
    v_fmac_f32_e32 v5, v9, v17
    s_branch BB1
BB10:
    s_inst_prefetch 0x3
    s_load_dwordx4 s[0:3], s[2:3], 0x20
    s_mov_b64 exec, -1
    v_lshlrev_b32_e32 v0, 4, v0
    s_waitcnt lgkmcnt(0)
    buffer_store_dwordx4 v[4:7], v0, s[0:3], 0 offen
    s_endpgm
";

/// `half` on GCN, as a whole.
const VEGA10: &str = "\
BB0:
    s_mov_b32 s0, s3
    s_movk_i32 s3, 0x8000
    s_load_dwordx4 s[4:7], s[2:3], 0x0
    v_mov_b32_e32 v1, 0
    s_mov_b64 s[8:9], exec
    v_lshl_add_u32 v0, s0, 6, v0
    v_mov_b32_e32 v2, v0
    s_waitcnt lgkmcnt(0)
    s_lshr_b32 s1, s6, 1
    s_nop 0
    (then repeated 4 times)
BB1:
    v_cmpx_le_u32_e32 vcc, s1, v2
BB2:
    s_andn2_b64 s[8:9], s[8:9], exec
    s_cbranch_scc0 BB10
BB9:
    s_mov_b64 exec, s[8:9]
    v_lshlrev_b32_e32 v3, 1, v2
    buffer_load_ushort v4, v3, s[4:7], 0 offen
    v_add_u32_e32 v2, 64, v2
    s_waitcnt vmcnt(0)
    v_cvt_f32_f16_e32 v5, v4
    v_add_f32_e32 v1, v1, v5
    s_branch BB1
BB10:
    s_load_dwordx4 s[0:3], s[2:3], 0x10
    s_mov_b64 exec, -1
    v_lshlrev_b32_e32 v0, 2, v0
    s_waitcnt lgkmcnt(0)
    buffer_store_dword v1, v0, s[0:3], 0 offen
    s_endpgm
";

/// Made up: on RDNA3 a loop over tiles with its condition at the end, around one over workgroup
/// memory.
const NESTED: &str = "\
BB0:
    s_load_b256 s[8:15], s[2:3], null
BB1:
    buffer_load_b96 v[4:6], v20, s[12:15], 0 offen
    buffer_load_d16_hi_b16 v7, v20, s[8:11], 0 offen
    ds_store_b128 v40, v[4:7]
    s_cmp_lt_u32 s0, s1
    s_cbranch_scc1 BB3
BB2:
    s_load_b128 s[12:15], s[2:3], 0x40
    s_branch BB4
BB3:
    s_nop 0
BB4:
    buffer_load_b128 v[4:7], v20, s[12:15], 0 offen
BB5:
    ds_load_b128 v[8:11], v41
    v_dual_fmac_f32 v1, v8, v9 :: v_dual_fmac_f32 v2, v10, v11
    ds_bpermute_b32 v8, v8, v9
    s_cbranch_scc0 BB5
BB6:
    v_add_nc_u32_e32 v20, 64, v20
    s_cbranch_vccnz BB1
BB7:
    buffer_load_b128 v[4:7], v20, s[12:15], 0 offen
    s_endpgm
";

fn found(text: &str, weights: Option<u32>) -> Loop {
    let program = Program::parse(text).unwrap();
    busiest(&program, weights).unwrap().unwrap()
}

#[test]
fn loads_of_each_card() {
    let three = Loads {
        b128: 3,
        ..Loads::default()
    };
    for (text, arithmetic) in [(NAVI31, 4), (NAVI21, 16)] {
        let found = found(text, Some(1));
        assert_eq!(found.loads, three);
        assert_eq!((found.bytes, found.weights), (48, 16));
        assert_eq!((found.arithmetic, found.lds), (arithmetic, 0));
    }
    let found = found(VEGA10, None);
    assert_eq!(found.loads.narrow, 1);
    assert_eq!((found.bytes, found.arithmetic), (2, 5));
}

#[test]
fn weights_are_those_of_their_binding() {
    for (binding, bytes) in [(0, 32), (1, 16), (2, 0)] {
        assert_eq!(found(NAVI31, Some(binding)).weights, bytes);
        assert_eq!(found(NAVI21, Some(binding)).weights, bytes);
    }
}

#[test]
fn instructions_belong_to_the_innermost_loop() {
    let found = found(NESTED, Some(1));
    let loads = Loads {
        b128: 1,
        b96: 1,
        narrow: 1,
        ..Loads::default()
    };
    assert_eq!(found.loads, loads);
    assert_eq!((found.bytes, found.arithmetic, found.lds), (30, 1, 1));
}

#[test]
fn ways_that_disagree_leave_the_binding_unknown() {
    // One way into BB4 brings binding 1, the other binding 4.
    assert_eq!(found(NESTED, Some(1)).weights, 0);
    assert_eq!(found(NESTED, Some(4)).weights, 0);
    let agreeing = NESTED.replace("0x40", "0x10");
    assert_eq!(found(&agreeing, Some(1)).weights, 16);
}

#[test]
fn repeated_lines_count_as_often_as_they_stand_for() {
    let program = Program::parse(VEGA10).unwrap();
    let n = |name| {
        let all = program.instructions.iter();
        all.filter(|i| i.name == name).count()
    };
    assert_eq!(n("s_nop"), 5);
}

#[test]
fn what_is_not_understood_is_an_error() {
    let judge = |text: &str| {
        let program = Program::parse(text)?;
        busiest(&program, None)
    };
    let in_loop = |line: &str| format!("BB0:\n    {line}\n    s_branch BB0\n");
    assert!(judge(&in_loop("v_mov_b32_e32 v0, 0")).is_ok());
    for line in [
        "buffer_load_lds_b32 v1, s[4:7], 0 offen",
        "image_load v[0:3], v[4:5], s[8:15]",
        "s_setpc_b64 s[4:5]",
        "s_cbranch_scc0 BB9",
        "(invalid instruction)",
    ] {
        assert!(judge(&in_loop(line)).is_err(), "{line}");
    }
    assert!(judge("").is_err());
}
