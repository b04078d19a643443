//! Lines that `sha256sum -c` reads.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

/// Writes the line of one file. A name that would break the line is escaped, and a leading backslash says so.
pub fn write_line(out: &mut impl Write, sha256: &str, name: &OsStr) -> io::Result<()> {
    let escape = |byte: &u8| match byte {
        b'\\' => Some(br"\\"),
        b'\n' => Some(br"\n"),
        b'\r' => Some(br"\r"),
        _ => None,
    };
    let name = name.as_bytes();
    if name.iter().any(|byte| escape(byte).is_some()) {
        out.write_all(b"\\")?;
    }
    write!(out, "{sha256}  ")?;
    for byte in name {
        out.write_all(escape(byte).map_or(std::slice::from_ref(byte), |escaped| escaped))?;
    }
    out.write_all(b"\n")
}
