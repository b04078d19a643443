//! Values on their way through the file: what is accepted comes back as it was given, and what is wrong is told without them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use perdura::testing::{ManualClock, Ran, SteppedQueue};
use perdura::{Builder, Context, Error, ErrorKind, Failure, Progress, Queue, State, Task, TaskRecord};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A task that carries a value to its handler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "V: DeserializeOwned"))]
struct Carry<V> {
    load: V,
}

impl<V: Serialize + DeserializeOwned + Send + 'static> Task for Carry<V> {
    const NAME: &'static str = "carry";
    type Output = V;
}

fn open(builder: Builder) -> SteppedQueue {
    SteppedQueue::open(builder, &ManualClock::new()).unwrap()
}

/// Whether a value comes back from args, checkpoint and result, to the last bit as `Debug` shows it.
#[track_caller]
fn survives<V>(load: V)
where
    V: Serialize + DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tells = seen.clone();
    let tests = open(Queue::builder().handle(move |task: Carry<V>, cx: &Context| {
        cx.save_checkpoint(&task.load)?;
        let checkpoint = cx.checkpoint::<V>()?.ok_or_else(|| Failure::permanent("there is no checkpoint"))?;
        tells.lock().unwrap().extend([format!("{:?}", task.load), format!("{checkpoint:?}")]);
        Ok(task.load)
    }));
    let performed = tests.perform(&Carry { load: load.clone() }).unwrap();
    assert!(matches!(performed.ran, Ran::Succeeded(_)), "{performed:?}");
    let result = tests.queue().result::<Carry<V>>(performed.record.task_id).unwrap().unwrap();
    let given = format!("{load:?}");
    assert_eq!(*seen.lock().unwrap(), [given.clone(), given.clone()]);
    assert_eq!(format!("{result:?}"), given);
}

#[test]
fn g01_numbers_come_back_to_the_last_bit() {
    let mut seed = 7_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from_bits(seed.rotate_left(17))
    };
    let mut floats: Vec<f64> =
        std::iter::repeat_with(&mut random).filter(|x| x.is_finite()).take(2000).collect();
    floats.extend([0.1 + 0.2, 9_007_199_254_740_991.0, -0.0, f64::MIN_POSITIVE, 5e-324, f64::MAX, 1e23]);
    survives(floats.clone());
    survives(floats.iter().map(|x| *x as f32).filter(|x| x.is_finite()).collect::<Vec<f32>>());
    survives((i128::MIN, i128::MAX, u128::MAX, u64::MAX, i64::MIN));
    survives(BTreeMap::from([(i128::MIN, "least"), (0, "none")].map(|(n, name)| (n, name.to_owned()))));
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Nest {
    End(f64),
    Deeper(Box<Nest>),
}

/// So many brackets within each other.
fn nest(depth: usize, end: f64) -> Nest {
    (1..depth).fold(Nest::End(end), |nest, _| Nest::Deeper(Box::new(nest)))
}

#[test]
fn g01_values_nest_as_deep_as_they_can_be_read() {
    survives(nest(126, 0.5)); // and the struct around it
    let tests = open(Queue::builder());
    let e = tests.queue().enqueue(&Carry { load: nest(127, 0.5) }).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Serialization);
    assert!(e.to_string().contains("in the field `load` lies more than 127 lists and maps deep"), "{e}");
    let endless = std::mem::ManuallyDrop::new(Carry { load: nest(200_000, 0.5) }); // whose drop would take the stack
    assert!(tests.queue().enqueue(&*endless).unwrap_err().to_string().contains("127 lists"));
}

#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    name: String,
    ratio: Option<f32>,
}

#[test]
fn g01_a_number_that_json_has_not_is_refused_where_it_is_given() {
    let bad = || Measured { name: "CANARY".into(), ratio: Some(f32::INFINITY) };
    let tests = open(
        Queue::builder()
            .handle(move |_: Measure, _: &Context| Ok(bad()))
            .handle(move |_: Save, cx: &Context| cx.save_checkpoint(&(1, f64::NAN)).map(|()| 0)),
    );
    let queue = tests.queue();
    let e = queue.enqueue(&Carry { load: bad() }).unwrap_err();
    assert_eq!((e.kind(), queue.counts().unwrap().total().all()), (ErrorKind::Serialization, 0));
    assert_eq!(
        e.to_string(),
        "task \"carry\": the args cannot be kept: a number in the field `ratio` is NaN or infinite, for which JSON has no number; \
         give it as a text, or leave it out"
    );
    let fails = |ran: Result<TaskRecord, Error>, what: &str| {
        let record = ran.unwrap();
        assert_eq!((record.state, record.error_type.as_deref()), (State::Failed, Some("Unserializable")));
        let message = record.error_message.unwrap();
        assert!(message.starts_with(&format!("the {what} cannot be kept: a number")), "{message}");
        assert!(!message.contains("CANARY"), "{message}");
    };
    fails(tests.perform(&Measure).map(|performed| performed.record), "result");
    fails(tests.perform(&Save).map(|performed| performed.record), "checkpoint");
}

#[derive(Serialize, Deserialize)]
struct Measure;

impl Task for Measure {
    const NAME: &'static str = "measure";
    type Output = Measured;
}

#[derive(Serialize, Deserialize)]
struct Save;

impl Task for Save {
    const NAME: &'static str = "save";
    type Output = u64;
}

/// Saves a text once, and reads a number ever after.
fn count_on(_: Save, cx: &Context) -> Result<u64, Failure> {
    if cx.generation() == 1 {
        cx.save_checkpoint("CANARY")?;
        cx.progress(1, 2);
        return Err(Failure::named("later", "as told"));
    }
    Ok(cx.checkpoint::<u64>()?.unwrap_or(7))
}

#[test]
fn g14_a_checkpoint_that_does_not_decode_costs_no_further_attempts_and_can_be_dropped() {
    let mut tests = open(Queue::builder().handle(count_on));
    let id = tests.queue().enqueue(&Save).unwrap().id();
    tests.run_until_idle().unwrap();
    tests.advance(std::time::Duration::from_secs(60)).unwrap();
    tests.run_until_idle().unwrap();
    let failed = |attempt_number| {
        let record = tests.queue().get(id).unwrap();
        assert_eq!((record.state, record.attempt_number), (State::Failed, attempt_number));
        assert_eq!(record.error_type.as_deref(), Some("CheckpointUndecodable"));
        let message = record.error_message.unwrap();
        assert!(message.contains("a value is a text, which its type is not"), "{message}");
        assert!(message.contains("a retry from the start") && !message.contains("CANARY"), "{message}");
    };
    failed(2);
    tests.queue().retry(id).unwrap();
    tests.run_until_idle().unwrap();
    failed(1);
    tests.queue().retry_from_start(id).unwrap();
    assert_eq!(tests.queue().get(id).unwrap().progress, None);
    tests.run_until_idle().unwrap();
    assert_eq!(tests.queue().result::<Save>(id).unwrap(), Some(7));
    let e = tests.queue().retry_from_start(id).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::WrongState);
    assert_eq!(tests.queue().retry_all_from_start(perdura::Filter::new()).unwrap().changed, 0);
}

#[test]
fn the_checkpoint_of_a_replayed_letter_goes_when_its_task_succeeds() {
    let tests = open(Queue::builder().handle(|_: Save, cx: &Context| match cx.checkpoint::<u64>()? {
        None => {
            cx.save_checkpoint(&9)?;
            Err(Failure::permanent("as told"))
        }
        Some(found) => Ok(found),
    }));
    let queue = tests.queue();
    let failed = queue.enqueue(&Save).unwrap().id();
    tests.run_until_idle().unwrap();
    assert_eq!(queue.move_to_dead_letters(perdura::Filter::new()).unwrap().changed, 1);
    let new = queue.dead_letters().replay(failed).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(queue.result::<Save>(new).unwrap(), Some(9), "it had the letter's");
    assert_eq!(queue.checkpoint_json(new).unwrap(), None);
    assert_eq!(queue.checkpoint_json(failed).unwrap().as_deref(), Some("9"), "the letter keeps its own");
}

/// What an update of a program finds in its file.
#[derive(Debug, Serialize, Deserialize)]
struct Mail {
    to: String,
    subject: String,
    #[serde(default)]
    options: MailOptions,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MailOptions {
    #[serde(default)]
    headers: BTreeMap<String, u32>,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    copies: Vec<(u8, String)>,
    #[serde(default)]
    at: Option<BTreeMap<u16, Exact>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
enum Format {
    #[default]
    Plain,
    Rich {
        font: String,
    },
    Sized(u8),
}

#[derive(Debug, Serialize, Deserialize)]
struct Exact {
    id: i128,
    price: f64,
}

/// What decoding says of args; they hold `CANARY` wherever they can.
#[track_caller]
fn told<T: Task + std::fmt::Debug>(args: impl Into<String>) -> String {
    let tests = open(
        Queue::builder().handle(|_: Carry<T>, _: &Context| Err(Failure::permanent("its args do not decode"))),
    );
    let load = serde_json::value::RawValue::from_string(args.into()).unwrap();
    let id = tests.queue().enqueue(&Carry { load }).unwrap().id();
    tests.run_until_idle().unwrap();
    let record = tests.queue().get(id).unwrap();
    assert_eq!(record.error_type.as_deref(), Some("ArgsUndecodable"), "{record:?}");
    let everything = format!("{record:?} {:?}", tests.queue().attempts(id).unwrap());
    let e = tests.queue().result::<Carry<T>>(id).unwrap_err();
    let everything = format!("{everything} {e} {e:?} {:?}", tests.all_enqueued::<Carry<T>>().err());
    assert!(!everything.contains("CANARY"), "{everything}");
    record.error_message.unwrap()
}

impl Task for Mail {
    const NAME: &'static str = "mail";
    type Output = ();
}

#[test]
fn g14_args_of_another_shape_are_told_by_the_fields_of_their_type_and_never_by_their_text() {
    use serde_json::json;
    let mail =
        |options: serde_json::Value| json!({ "to": "CANARY", "subject": "CANARY", "options": options });
    for (args, wrong) in [
        (json!({ "to": "CANARY" }), "the field `load.subject` is missing; give new fields a serde default"),
        (json!({ "to": ["CANARY"], "CANARY": 1 }), "the field `load.to` is a list, which its type is not"),
        (
            json!({ "to": "CANARY", "subject": 17 }),
            "the field `load.subject` is a whole number, which its type is not",
        ),
        (json!("CANARY"), "the field `load` is a text, which its type is not"),
        (mail(json!({ "CANARY": 1 })), "the field `load.options` has a field that its type does not know"),
        (
            mail(json!({ "headers": { "CANARY": "CANARY" } })),
            "the field `load.options.headers` is a text, which its type is not",
        ),
        (
            mail(json!({ "headers": { "CANARY": -1 } })),
            "the field `load.options.headers` is out of the range of its type",
        ),
        (
            mail(json!({ "format": "CANARY" })),
            "the field `load.options.format` is none of the variants of its type",
        ),
        (
            mail(json!({ "format": { "Rich": { "CANARY": "CANARY" } } })),
            "the field `load.options.format.font` is missing; give new fields a serde default",
        ),
        (
            mail(json!({ "format": { "Sized": "CANARY" } })),
            "the field `load.options.format` is a text, which its type is not",
        ),
        (
            mail(json!({ "copies": [[1, "CANARY"], [2]] })),
            "the field `load.options.copies` is a list of another length",
        ),
        (
            mail(json!({ "at": { "7": { "id": 1, "price": 1.5 }, "8": { "id": 1, "price": "CANARY" } } })),
            "the field `load.options.at.price` is a text, which its type is not",
        ),
    ] {
        let told = told::<Mail>(args.to_string());
        assert!(told.contains(wrong), "{told}\nwanted: {wrong}");
    }
    let wide = r#"{"to":"a","subject":"b","options":{"at":{"7":{"id":170141183460469231731687303715884105727,"price":null}}}}"#;
    let told = told::<Mail>(wide);
    assert!(told.contains("the field `load.options.at.price` is null, which its type is not"), "{told}");
}

/// A type whose own messages quote what they complain about.
#[derive(Debug, Serialize)]
struct Talkative;

impl<'de> Deserialize<'de> for Talkative {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Talkative, D::Error> {
        let text = String::deserialize(deserializer)?;
        Err(serde::de::Error::custom(format!("missing field `{text}`")))
    }
}

impl Task for Talkative {
    const NAME: &'static str = "talkative";
    type Output = ();
}

#[test]
fn g14_a_type_that_quotes_what_it_reads_is_not_quoted() {
    let told = told::<Talkative>("\"CANARY\"");
    assert!(told.contains("the field `load` is not what its type takes"), "{told}");
}

#[test]
fn g01_progress_comes_back_however_large_it_is() {
    let (most, past) = (u64::MAX, i64::MAX.cast_unsigned() + 1);
    let tests = open(Queue::builder().handle(move |task: Carry<u8>, cx: &Context| {
        let (done, total) = if task.load == 0 { (most, past) } else { (1, most) };
        cx.progress(done, total);
        Ok(0)
    }));
    for (load, done, total) in [(0, most, past), (1, 1, most)] {
        let id = tests.queue().enqueue(&Carry::<u8> { load }).unwrap().id();
        tests.run_until_idle().unwrap();
        assert_eq!(tests.queue().get(id).unwrap().progress, Some(Progress::new(done, total)));
    }
}

/// serde's own round trip of this is one-sided in the last digit.
#[derive(Serialize, Deserialize)]
struct Rounded {
    #[serde(serialize_with = "halved")]
    share: u128,
}

fn halved<S: serde::Serializer>(share: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(share - 1)
}

impl Task for Rounded {
    const NAME: &'static str = "rounded";
    type Output = ();
}

#[test]
fn perform_notices_a_change_in_the_last_digit() {
    let tests = open(Queue::builder().handle(|_: Rounded, _: &Context| Ok(())));
    let e = tests.perform(&Rounded { share: u128::MAX }).unwrap_err();
    assert!(e.to_string().contains("at /share"), "{e}");
}
