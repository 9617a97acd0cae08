//! Each rule of the cycle model on a few instructions.

use std::collections::BTreeMap;

use seedmask_profiler::model::Cycles;
use seedmask_profiler::record::{Accesses, Region};
use seedmask_profiler::{Code, Core, Profile};

/// At a multiple of four.
const START: u32 = 0x1000;

const LDR_R0_R1: u16 = 0x6808; // ldr r0, [r1]
const LDR_R2_R3: u16 = 0x681a; // ldr r2, [r3]
const LDR_R4_R0: u16 = 0x6804; // ldr r4, [r0]
const LDR_R0_R1_R2: u16 = 0x5888; // ldr r0, [r1, r2]
const STR_R0_R1: u16 = 0x6008; // str r0, [r1]
const STR_R0_R1_R5: u16 = 0x5148; // str r0, [r1, r5]
const ADDS_R1: u16 = 0x3104; // adds r1, #4
const ADDS_R2: u16 = 0x3204; // adds r2, #4
const NOP: u16 = 0xbf00;
const LDM_R0: u16 = 0xc80e; // ldm r0!, {r1, r2, r3}
const PUSH: u16 = 0xb510; // push {r4, lr}
const POP: u16 = 0xbd10; // pop {r4, pc}
const BEQ: u16 = 0xd000; // beq two halfwords further
const BX_LR: u16 = 0x4770;
const IT_EQ: u16 = 0xbf08;
const BL: [u16; 2] = [0xf000, 0xf802]; // bl four halfwords further
const ADD_W: [u16; 2] = [0xeb01, 0x0002]; // add.w r0, r1, r2
const LDRD: [u16; 2] = [0xe9d2, 0x0100]; // ldrd r0, r1, [r2]
const SMLAD: [u16; 2] = [0xfb21, 0x3002]; // smlad r0, r1, r2, r3
const UXTAB16: [u16; 2] = [0xfa31, 0xf082]; // uxtab16 r0, r1, r2
const SEL: [u16; 2] = [0xfaa1, 0xf082]; // sel r0, r1, r2
const USADA8: [u16; 2] = [0xfb71, 0x3002]; // usada8 r0, r1, r2, r3
const SMLAL: [u16; 2] = [0xfbc2, 0x0103]; // smlal r0, r1, r2, r3
const SDIV: [u16; 2] = [0xfb91, 0xf0f2]; // sdiv r0, r1, r2
const TBB: [u16; 2] = [0xe8df, 0xf000]; // tbb [pc, r0]
const LDR_PC: [u16; 2] = [0xf8d0, 0xf000]; // ldr pc, [r0]
const VMOV: [u16; 2] = [0xee00, 0x0a10]; // vmov s0, r0
const VLDR: [u16; 2] = [0xed90, 0x0a00]; // vldr s0, [r0]
const VADD: [u16; 2] = [0xee30, 0x0a20]; // vadd.f32 s0, s0, s1
const DMB: [u16; 2] = [0xf3bf, 0x8f5f];

/// The program `code`, and the region of one run through the instructions at `path`, in halfwords
/// from its start. No load or store is skipped, all are aligned.
fn run(code: &[u16], path: &[u32]) -> (Code, Region) {
    let bytes: Vec<u8> = code.iter().flat_map(|half| half.to_le_bytes()).collect();
    let path: Vec<u32> = path.iter().map(|half| START + 2 * half).collect();
    let mut edges = BTreeMap::new();
    for pair in path.windows(2) {
        *edges.entry((pair[0], pair[1])).or_default() += 1;
    }
    let mut accesses = BTreeMap::new();
    for at in &path {
        accesses.entry(*at).or_insert_with(Accesses::default).loads += 1;
    }
    let region =
        Region { instructions: path.len() as u64, first: path.first().copied(), edges, accesses };
    (Code::of_bytes(START, &bytes).unwrap(), region)
}

fn cycles_on(core: Core, code: &[u16], path: &[u32]) -> Cycles {
    let (mut code, region) = run(code, path);
    Profile::new(&region, &mut code, core).unwrap().cycles
}

/// Nominal cycles on an M4 of `code` executed from its first instruction to its last, which begin
/// at `path`.
fn m4(code: &[u16], path: &[u32]) -> i64 {
    cycles_on(Core::M4, code, path).nominal
}

fn straight(code: &[u16]) -> i64 {
    let path: Vec<u32> = (0..code.len() as u32).collect();
    m4(code, &path)
}

#[test]
fn arithmetic_takes_a_cycle() {
    for code in [ADD_W, SMLAD, UXTAB16, SEL, USADA8, SMLAL, VMOV, DMB] {
        assert_eq!(m4(&code, &[0]), 1, "{code:x?}");
    }
    assert_eq!(straight(&[ADDS_R1, NOP, NOP]), 3);
    assert_eq!(cycles_on(Core::M4, &SDIV, &[0]), Cycles { low: 2, nominal: 7, high: 12 });
    assert_eq!(cycles_on(Core::M4, &[IT_EQ], &[0]), Cycles { low: 0, nominal: 1, high: 1 });
}

#[test]
fn loads_in_a_row_overlap_unless_one_needs_the_other() {
    assert_eq!(straight(&[LDR_R0_R1]), 2);
    assert_eq!(straight(&[LDR_R0_R1, LDR_R2_R3]), 2 + 1);
    assert_eq!(straight(&[LDR_R0_R1, LDR_R2_R3, LDR_R0_R1]), 2 + 1 + 1);
    assert_eq!(straight(&[LDR_R0_R1, LDR_R4_R0]), 2 + 2, "address loaded just before");
    assert_eq!(straight(&[LDR_R0_R1, NOP, LDR_R2_R3]), 2 + 1 + 2);
}

#[test]
fn stores_go_to_a_buffer() {
    assert_eq!(straight(&[STR_R0_R1]), 1);
    assert_eq!(straight(&[STR_R0_R1_R5]), 2);
    assert_eq!(straight(&[LDR_R2_R3, STR_R0_R1_R5]), 2 + 1);
    assert_eq!(straight(&[STR_R0_R1, LDR_R2_R3]), 1 + 2, "a store hides nothing");
}

#[test]
fn an_address_that_was_just_computed_stalls() {
    assert_eq!(straight(&[ADDS_R1, LDR_R0_R1]), 1 + 3);
    assert_eq!(straight(&[ADDS_R2, LDR_R0_R1_R2]), 1 + 3, "the index too");
    assert_eq!(straight(&[ADDS_R1, STR_R0_R1]), 1 + 2);
    assert_eq!(straight(&[ADDS_R2, LDR_R0_R1]), 1 + 2);
    assert_eq!(m4(&[ADDS_R2, LDRD[0], LDRD[1]], &[0, 1]), 1 + 4);
    assert_eq!(m4(&[ADD_W[0], ADD_W[1], LDM_R0], &[0, 2]), 1 + 5);
}

#[test]
fn several_words_take_one_more_than_their_number() {
    assert_eq!(straight(&[LDM_R0]), 4);
    assert_eq!(straight(&[PUSH]), 3);
    assert_eq!(m4(&LDRD, &[0]), 3);
    assert_eq!(m4(&VLDR, &[0]), 2);
    assert_eq!(m4(&[LDR_R0_R1, LDRD[0], LDRD[1]], &[0, 1]), 2 + 3, "they do not overlap");
}

#[test]
fn a_taken_branch_refills_the_pipeline() {
    assert_eq!(m4(&[BEQ, NOP, NOP], &[0, 1]), 1 + 1, "not taken");
    assert_eq!(
        cycles_on(Core::M4, &[BEQ, NOP, NOP], &[0, 2]),
        Cycles { low: 1 + 1 + 1, nominal: 1 + 1 + 1, high: 1 + 3 + 1 }
    );
    assert_eq!(m4(&[BX_LR, NOP, NOP], &[0, 2]), 1 + 2 + 1);
    assert_eq!(m4(&[BL[0], BL[1], NOP, NOP, NOP], &[0, 4]), 1 + 1 + 1);
    assert_eq!(m4(&[POP, NOP, NOP], &[0, 2]), 3 + 2 + 1);
    assert_eq!(m4(&[LDR_PC[0], LDR_PC[1], NOP, NOP], &[0, 3]), 2 + 2 + 1);
    assert_eq!(m4(&[TBB[0], TBB[1], NOP, NOP], &[0, 3]), 2 + 2 + 1);
    let long = [NOP, BEQ, NOP, ADD_W[0], ADD_W[1]];
    assert_eq!(m4(&long, &[1, 3]), 1 + 1 + 1 + 1, "a long instruction at a halfword");
    assert_eq!(m4(&long[1..], &[0, 2]), 1 + 1 + 1, "at a word");
}

#[test]
fn a_skipped_load_takes_a_cycle() {
    let (mut code, mut region) = run(&[IT_EQ, LDR_R0_R1], &[0, 1]);
    assert_eq!(Profile::new(&region, &mut code, Core::M4).unwrap().cycles.nominal, 1 + 2);
    region.accesses.clear();
    assert_eq!(Profile::new(&region, &mut code, Core::M4).unwrap().cycles.nominal, 1 + 1);
}

#[test]
fn unaligned_accesses_are_split() {
    let (mut code, mut region) = run(&[LDR_R0_R1], &[0]);
    let accesses = Accesses { loads: 1, split_once: 1, ..Accesses::default() };
    region.accesses.insert(START, accesses);
    assert_eq!(Profile::new(&region, &mut code, Core::M4).unwrap().cycles.nominal, 2 + 1);
    let accesses = Accesses { loads: 1, split_twice: 1, ..Accesses::default() };
    region.accesses.insert(START, accesses);
    assert_eq!(Profile::new(&region, &mut code, Core::M4).unwrap().cycles.nominal, 2 + 2);
}

#[test]
fn the_smaller_cores_have_their_own_timings() {
    let both = |code: &[u16], path: &[u32]| {
        [Core::M0, Core::M0Plus].map(|core| cycles_on(core, code, path).nominal)
    };
    assert_eq!(both(&[LDR_R0_R1, LDR_R2_R3, STR_R0_R1], &[0, 1, 2]), [6, 6]);
    assert_eq!(both(&[ADDS_R1, LDR_R0_R1], &[0, 1]), [3, 3]);
    assert_eq!(both(&[LDM_R0], &[0]), [4, 4]);
    assert_eq!(both(&[BEQ, NOP, NOP], &[0, 1]), [2, 2]);
    assert_eq!(both(&[BEQ, NOP, NOP], &[0, 2]), [3 + 1, 2 + 1]);
    assert_eq!(both(&[BX_LR, NOP, NOP], &[0, 2]), [3 + 1, 2 + 1]);
    assert_eq!(both(&[BL[0], BL[1], NOP, NOP, NOP], &[0, 4]), [4 + 1, 3 + 1]);
    // 4 + N and 3 + N, pc among the N.
    assert_eq!(both(&[POP, NOP, NOP], &[0, 2]), [6 + 1, 5 + 1]);
    assert_eq!(both(&DMB, &[0]), [3, 3]);
}

#[test]
fn what_has_no_timing_is_an_error() {
    let (mut code, region) = run(&VADD, &[0]);
    let error = Profile::new(&region, &mut code, Core::M4).unwrap_err().to_string();
    assert!(error.contains("vadd.f32 s0, s0, s1"), "{error}");
}

#[test]
fn the_hottest_instructions_are_named() {
    let (mut code, region) = run(&[ADDS_R1, LDR_R0_R1, BEQ, NOP], &[0, 1, 2, 0, 1, 2, 3]);
    let profile = Profile::new(&region, &mut code, Core::M4).unwrap();
    let hot = profile.hottest(&mut code, 1);
    assert_eq!(profile.instructions, 7);
    assert_eq!((hot[0].times, hot[0].cycles, hot[0].text.as_str()), (2, 3.0, "ldr r0, [r1]"));
}
