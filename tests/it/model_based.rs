//! Random sequences of operations, with jumps of the clock and crashes at any commit, held against the model of the queue.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use perdura::testing::CrashPoint;
use perdura::testing::model::{Operation, Pair, Program, Script, decode};
use perdura::testing::proptest::Machine;
use perdura::{Config, LostRetry, Options, State};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
use proptest_state_machine::ReferenceStateMachine;

use crate::support::*;

/// Sequences in a round, 100 operations each on the average.
const CASES: u32 = 40;

#[test]
fn g03_g04_g06_g08_g09_g10_g16_a_queue_does_what_its_model_does() {
    const THREADS: usize = 2;
    let (seed, begin, done) = (seed(), Instant::now(), Done::default());
    let rounds = Mutex::new(rounds(50));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(round) = next(&rounds) {
                    done.run_round(seed, round);
                }
            });
        }
    });
    let (cases, steps) = (done.cases.into_inner(), done.steps.into_inner());
    let a_second = steps as f64 / begin.elapsed().as_secs_f64();
    report(
        "model",
        format_args!(
            "{steps} steps in {cases} sequences, {a_second:.0} a second, seed {seed}, 0 differences"
        ),
    );
}

/// The next round, unless one has failed.
fn next(rounds: &Mutex<impl Iterator<Item = u64>>) -> Option<u64> {
    rounds.lock().ok()?.next()
}

#[derive(Default)]
struct Done {
    cases: AtomicU64,
    steps: AtomicU64,
}

impl Done {
    fn run_round(&self, seed: u64, round: u64) {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&round.to_le_bytes());
        let config = ProptestConfig {
            cases: CASES,
            max_shrink_iters: 20_000,
            max_shrink_time: 60_000,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let sequences = Machine::<Script>::sequential_strategy(60..140);
        let ran = runner.run(&sequences, |(model, operations, seen)| {
            self.cases.fetch_add(1, Ordering::Relaxed);
            self.steps.fetch_add(operations.len() as u64, Ordering::Relaxed);
            Machine::run(&model, &operations, seen).map_err(|found| TestCaseError::fail(found.to_string()))
        });
        match ran {
            Ok(()) => {}
            Err(TestError::Fail(why, (model, ..))) => panic!("seed {seed}, round {round}, {model:?}: {why}"),
            Err(TestError::Abort(why)) => panic!("seed {seed}, round {round}: {why}"),
        }
    }
}

/// A claim that finds a suspect of an unknown name holds it. The turn is the next one's then, and the claim goes on.
#[test]
fn g04_a_suspect_that_gets_its_turn_from_a_claim_in_vain_is_claimed_at_once() {
    let dies_while_it_runs =
        |next| Operation::CrashDuring(Box::new(Operation::RunOne), CrashPoint::before(2), next);
    let config = Config::default().lost_retry(LostRetry::Immediate);
    let mut pair = Pair::<Script>::new(&config).unwrap();
    for operation in [
        Operation::Enqueue(Script::New, Options::new().queue("b")),
        dies_while_it_runs(Program::Whole),
        Operation::Pause("b"),
        Operation::Enqueue(Script::Succeed, Options::new()),
        dies_while_it_runs(Program::Older),
        Operation::Resume("b"),
        Operation::RunOne,
    ] {
        pair.apply(&operation).unwrap();
    }
    let states: Vec<State> = pair.model().tasks().values().map(|task| task.state).collect();
    assert_eq!(states, [State::Queued, State::Succeeded]);
}

/// What the fuzzer begins with: each file is a case that was of interest once.
#[test]
fn the_corpus_of_the_fuzzer_does_what_the_model_does() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/operations");
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let mut pair = Pair::<Script>::new(&Config::default()).unwrap();
        for operation in decode(&std::fs::read(&path).unwrap()) {
            pair.apply(&operation).unwrap_or_else(|difference| panic!("{}: {difference}", path.display()));
        }
        pair.finish().unwrap();
        files += 1;
    }
    assert!(files > 10, "the corpus is gone");
}
