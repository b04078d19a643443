//! The protocol between worker and shim: frames of a length, a kind and bytes, through two pipes.
//!
//! Both ends are the same program. Numbers are little-endian. Beside the pipes the shim notes in the lock file which process it has started: the
//! note is still there when the shim has died, and it wakes nobody.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use rustix::process::Pid;

/// What a worker tells its shim.
#[derive(Debug, PartialEq)]
pub(super) enum ShimOrder {
    /// Start this.
    Launch(Launch),
    /// Ask the process group of the job to end: SIGTERM.
    Terminate,
    /// Ask all processes of the job to end: SIGTERM.
    TerminateAll,
    /// End them: SIGKILL.
    Kill,
}

/// A program to start.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Launch {
    /// Which of the shim's launches this is.
    pub number: u64,
    /// Program and arguments; at least one.
    pub argv: Vec<Vec<u8>>,
    pub dir: Vec<u8>,
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    pub surroundings: LaunchSettings,
}

/// The other properties of a started process.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct LaunchSettings {
    /// Its environment is the launch's alone; else the launch's over the worker's.
    pub own_env: bool,
    /// None: the worker's.
    pub umask: Option<u32>,
    /// How much higher its nice value is than the worker's.
    pub nice: u8,
    /// The file of its standard input; none: an empty one.
    pub stdin: Option<Vec<u8>>,
}

/// What a shim tells its worker.
#[derive(Debug, PartialEq)]
pub(super) enum ShimMessage<'b> {
    /// It is ready, and out of reach of the terminal.
    Hello,
    /// The job runs, and its process leads a group of its own. Only sent if the lock file does not take the note of it.
    Started(i32),
    /// It could not be started. Nothing ran.
    Refused(LaunchError),
    /// The job has said this on its standard output.
    Output(&'b [u8]),
    /// The job has said this on its standard error.
    Complaint(&'b [u8]),
    /// Some of its processes could not be ended. The shim ends after the report of the end, so that they are not taken for the next job's.
    Left,
    /// It has ended with this exit code, and all its processes with it.
    Exited {
        code: i32,
        /// An order to end had reached it before.
        was_asked: bool,
    },
    /// A signal has ended it, and all its processes with it.
    Signaled(i32),
}

/// Why a program could not be started.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LaunchError {
    pub error_type: String,
    pub message: String,
    /// Trying again could help.
    pub may_pass: bool,
}

/// The longest frame: the longest args that a file takes, and some more.
const MAX_FRAME_BYTES: usize = 300 << 20;

const LAUNCH: u8 = 1;
const TERMINATE: u8 = 2;
const KILL: u8 = 3;
const TERMINATE_ALL: u8 = 4;
const HELLO: u8 = 10;
const STARTED: u8 = 11;
const REFUSED: u8 = 12;
const OUTPUT: u8 = 13;
const COMPLAINT: u8 = 14;
const EXITED: u8 = 15;
const SIGNALED: u8 = 16;
const LEFT: u8 = 17;

impl ShimOrder {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        match self {
            ShimOrder::Launch(launch) => put(&mut frame, LAUNCH, &launch.encode()),
            ShimOrder::Terminate => put(&mut frame, TERMINATE, &[]),
            ShimOrder::TerminateAll => put(&mut frame, TERMINATE_ALL, &[]),
            ShimOrder::Kill => put(&mut frame, KILL, &[]),
        }
        frame
    }

    /// The next order that has come whole.
    pub(super) fn take(inbox: &mut Inbox) -> io::Result<Option<ShimOrder>> {
        let Some((kind, bytes)) = inbox.next()? else { return Ok(None) };
        match kind {
            LAUNCH => Launch::decode(bytes).map(|launch| Some(ShimOrder::Launch(launch))).ok_or_else(garbled),
            TERMINATE => Ok(Some(ShimOrder::Terminate)),
            TERMINATE_ALL => Ok(Some(ShimOrder::TerminateAll)),
            KILL => Ok(Some(ShimOrder::Kill)),
            _ => Err(garbled()),
        }
    }
}

impl ShimMessage<'_> {
    /// Adds it to what will be sent.
    pub(super) fn put(&self, frames: &mut Vec<u8>) {
        match self {
            ShimMessage::Hello => put(frames, HELLO, &[]),
            ShimMessage::Started(pid) => put(frames, STARTED, &pid.to_le_bytes()),
            ShimMessage::Refused(LaunchError { error_type, message, may_pass }) => {
                let mut bytes = vec![u8::from(*may_pass)];
                put_bytes(&mut bytes, error_type.as_bytes());
                put_bytes(&mut bytes, message.as_bytes());
                put(frames, REFUSED, &bytes);
            }
            ShimMessage::Output(bytes) => put(frames, OUTPUT, bytes),
            ShimMessage::Complaint(bytes) => put(frames, COMPLAINT, bytes),
            ShimMessage::Left => put(frames, LEFT, &[]),
            ShimMessage::Exited { code, was_asked } => {
                let [a, b, c, d] = code.to_le_bytes();
                put(frames, EXITED, &[a, b, c, d, u8::from(*was_asked)]);
            }
            ShimMessage::Signaled(signal) => put(frames, SIGNALED, &signal.to_le_bytes()),
        }
    }

    /// The next report that has come whole.
    pub(super) fn take(inbox: &mut Inbox) -> io::Result<Option<ShimMessage<'_>>> {
        let Some((kind, mut bytes)) = inbox.next()? else { return Ok(None) };
        let number = |bytes: &[u8]| bytes.try_into().map(i32::from_le_bytes).ok();
        let report = match kind {
            HELLO => Some(ShimMessage::Hello),
            STARTED => number(bytes).map(ShimMessage::Started),
            REFUSED => take_refusal(&mut bytes).map(ShimMessage::Refused),
            OUTPUT => Some(ShimMessage::Output(bytes)),
            COMPLAINT => Some(ShimMessage::Complaint(bytes)),
            LEFT => Some(ShimMessage::Left),
            EXITED => bytes.split_last().and_then(|(was_asked, code)| {
                Some(ShimMessage::Exited { code: number(code)?, was_asked: *was_asked != 0 })
            }),
            SIGNALED => number(bytes).map(ShimMessage::Signaled),
            _ => None,
        };
        report.map(Some).ok_or_else(garbled)
    }
}

fn take_refusal(bytes: &mut &[u8]) -> Option<LaunchError> {
    let (may_pass, rest) = bytes.split_first()?;
    *bytes = rest;
    let mut text = || take_bytes(bytes).map(|text| String::from_utf8_lossy(text).into_owned());
    Some(LaunchError { error_type: text()?, message: text()?, may_pass: *may_pass != 0 })
}

impl Launch {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.number.to_le_bytes().to_vec();
        self.surroundings.encode(&mut bytes);
        put_bytes(&mut bytes, &self.dir);
        put_count(&mut bytes, self.argv.len());
        self.argv.iter().for_each(|word| put_bytes(&mut bytes, word));
        for (key, value) in &self.env {
            put_bytes(&mut bytes, key);
            put_bytes(&mut bytes, value);
        }
        bytes
    }

    fn decode(mut bytes: &[u8]) -> Option<Launch> {
        let bytes = &mut bytes;
        let (number, rest) = bytes.split_first_chunk()?;
        let number = u64::from_le_bytes(*number);
        *bytes = rest;
        let surroundings = LaunchSettings::decode(bytes)?;
        let dir = take_bytes(bytes)?.to_vec();
        let count = take_count(bytes)?;
        let argv = (0..count).map(|_| take_bytes(bytes).map(<[u8]>::to_vec)).collect::<Option<Vec<_>>>()?;
        let mut env = Vec::new();
        while !bytes.is_empty() {
            env.push((take_bytes(bytes)?.to_vec(), take_bytes(bytes)?.to_vec()));
        }
        (!argv.is_empty()).then_some(Launch { number, argv, dir, env, surroundings })
    }
}

/// Stands for no umask: the worker's is kept.
const NO_UMASK: u32 = u32::MAX;

impl LaunchSettings {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend([u8::from(self.own_env), self.nice, u8::from(self.stdin.is_some())]);
        bytes.extend(self.umask.unwrap_or(NO_UMASK).to_le_bytes());
        put_bytes(bytes, self.stdin.as_deref().unwrap_or_default());
    }

    fn decode(bytes: &mut &[u8]) -> Option<LaunchSettings> {
        let ([own_env, nice, has_stdin], rest) = bytes.split_first_chunk()?;
        let (umask, rest) = rest.split_first_chunk()?;
        *bytes = rest;
        let stdin = take_bytes(bytes)?.to_vec();
        Some(LaunchSettings {
            own_env: *own_env != 0,
            umask: Some(u32::from_le_bytes(*umask)).filter(|umask| *umask != NO_UMASK),
            nice: *nice,
            stdin: (*has_stdin != 0).then_some(stdin),
        })
    }
}

fn put(frames: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    put_count(frames, bytes.len() + 1);
    frames.push(kind);
    frames.extend_from_slice(bytes);
}

fn put_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    put_count(into, bytes.len());
    into.extend_from_slice(bytes);
}

fn put_count(into: &mut Vec<u8>, count: usize) {
    // Args are bounded far below 4 GiB; a length that is cut would be refused as garbled.
    into.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn take_bytes<'b>(from: &mut &'b [u8]) -> Option<&'b [u8]> {
    let count = take_count(from)?;
    let (bytes, rest) = from.split_at_checked(count)?;
    *from = rest;
    Some(bytes)
}

fn take_count(from: &mut &[u8]) -> Option<usize> {
    let (count, rest) = from.split_first_chunk()?;
    *from = rest;
    usize::try_from(u32::from_le_bytes(*count)).ok()
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a garbled frame")
}

/// Bytes received and not taken yet.
#[derive(Default)]
pub(super) struct Inbox {
    /// Room to read into; what waits is in `taken..end`.
    room: Vec<u8>,
    taken: usize,
    end: usize,
}

/// What is read at once.
pub(super) const PIECE_BYTES: usize = 64 << 10;

impl Inbox {
    /// Reads once; false at the end.
    pub(super) fn fill(&mut self, from: &mut impl Read) -> io::Result<bool> {
        self.room.copy_within(self.taken..self.end, 0);
        self.end -= std::mem::take(&mut self.taken);
        if self.room.len() < self.end + PIECE_BYTES {
            self.room.resize(self.end + PIECE_BYTES, 0);
        }
        let read = read_some(from, &mut self.room[self.end..])?;
        self.end += read;
        Ok(read > 0)
    }

    fn next(&mut self) -> io::Result<Option<(u8, &[u8])>> {
        let mut waiting = &self.room[self.taken..self.end];
        let Some(length) = take_count(&mut waiting) else { return Ok(None) };
        if length == 0 || length > MAX_FRAME_BYTES {
            return Err(garbled());
        }
        if waiting.len() < length {
            return Ok(None);
        }
        let start = self.taken + 4;
        self.taken = start + length;
        Ok(Some((self.room[start], &self.room[start + 1..self.taken])))
    }
}

/// Reads once, whatever signals come.
pub(super) fn read_some(from: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(into) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Where the first note begins. The message of a shim that panics goes to the same file, at its beginning.
const FIRST_NOTE_OFFSET: u64 = 4096;

/// A number of a launch, and a process.
const NOTE_BYTES: usize = 16;

/// Notes that a launch of the shim with this slot has become this process.
pub(super) fn write_note(file: &File, slot: u64, launch: u64, process: Pid) -> io::Result<()> {
    let mut note = [0; NOTE_BYTES];
    note[..8].copy_from_slice(&launch.to_le_bytes());
    note[8..].copy_from_slice(&i64::from(process.as_raw_nonzero().get()).to_le_bytes());
    file.write_all_at(&note, note_at(slot))
}

/// The process that a launch has become, if that was noted.
pub(super) fn read_note(file: &File, slot: u64, launch: u64) -> Option<Pid> {
    let mut note = [0; NOTE_BYTES];
    file.read_exact_at(&mut note, note_at(slot)).ok()?;
    let (number, process) = note.split_at(8);
    let is_this = number == launch.to_le_bytes();
    let process = i64::from_le_bytes(process.try_into().ok()?);
    i32::try_from(process).ok().filter(|_| is_this).and_then(Pid::from_raw)
}

fn note_at(slot: u64) -> u64 {
    FIRST_NOTE_OFFSET + slot * NOTE_BYTES as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds bytes in pieces.
    fn fed(bytes: &[u8], piece: usize) -> Vec<Inbox> {
        let mut inbox = Inbox::default();
        for mut part in bytes.chunks(piece) {
            assert!(inbox.fill(&mut part).unwrap());
        }
        vec![inbox]
    }

    #[test]
    fn orders_come_through_whatever_the_pieces() {
        let launch = Launch {
            number: 7,
            argv: vec![b"echo".to_vec(), b"\xff".to_vec(), Vec::new()],
            dir: b"/tmp".to_vec(),
            env: vec![(b"K".to_vec(), b"V=\n".to_vec())],
            surroundings: LaunchSettings {
                own_env: true,
                umask: Some(0o27),
                nice: 19,
                stdin: Some(b"in\xff".to_vec()),
            },
        };
        let surroundings = launch.surroundings.clone();
        let others = [ShimOrder::Terminate, ShimOrder::TerminateAll, ShimOrder::Kill];
        let bytes =
            [vec![ShimOrder::Launch(launch).encode()], others.iter().map(ShimOrder::encode).collect()]
                .concat()
                .concat();
        for piece in [1, 3, 7, bytes.len()] {
            for mut inbox in fed(&bytes, piece) {
                let Some(ShimOrder::Launch(launch)) = ShimOrder::take(&mut inbox).unwrap() else {
                    panic!("no launch")
                };
                assert_eq!(launch.argv[1], b"\xff");
                assert_eq!(launch.surroundings, surroundings);
                assert_eq!((launch.number, launch.argv.len(), launch.env.len()), (7, 3, 1));
                for other in &others {
                    assert_eq!(ShimOrder::take(&mut inbox).unwrap().as_ref(), Some(other));
                }
                assert_eq!(ShimOrder::take(&mut inbox).unwrap(), None);
            }
        }
    }

    #[test]
    fn reports_come_through() {
        let launch_error =
            LaunchError { error_type: "ProgramNotFound".into(), message: "no".into(), may_pass: true };
        let reports = [
            ShimMessage::Hello,
            ShimMessage::Started(7),
            ShimMessage::Output(b"\x00\xff"),
            ShimMessage::Complaint(b""),
            ShimMessage::Left,
            ShimMessage::Exited { code: 255, was_asked: false },
            ShimMessage::Exited { code: -1, was_asked: true },
            ShimMessage::Signaled(9),
            ShimMessage::Refused(launch_error),
        ];
        let mut bytes = Vec::new();
        reports.iter().for_each(|report| report.put(&mut bytes));
        for mut inbox in fed(&bytes, 5) {
            for report in &reports {
                assert_eq!(ShimMessage::take(&mut inbox).unwrap().as_ref(), Some(report));
            }
        }
    }

    #[test]
    fn garbled_frames_are_refused() {
        for bytes in [&[0, 0, 0, 0][..], &[1, 0, 0, 0, 99], &[255; 8], &[2, 0, 0, 0, STARTED, 1]] {
            for mut inbox in fed(bytes, 100) {
                assert!(ShimMessage::take(&mut inbox).is_err(), "{bytes:?}");
            }
        }
    }

    #[test]
    fn a_note_is_of_one_launch_only() {
        let path = std::env::temp_dir().join(format!("perdura-note-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let this = rustix::process::getpid();
        assert_eq!(read_note(&file, 1, 1), None);
        write_note(&file, 1, 5, this).unwrap();
        assert_eq!(
            (read_note(&file, 1, 5), read_note(&file, 1, 4), read_note(&file, 0, 5)),
            (Some(this), None, None)
        );
        std::fs::remove_file(path).unwrap();
    }
}
