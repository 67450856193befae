//! Logged bodies of one exchange.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{
    base::limits,
    io::log::{
        disk::{Row, segments},
        read::{Piece, SegmentReader},
    },
    wire::record::{
        block::BlockKind,
        segment::{Body, Side},
    },
};

/// Writes them, the request first.
pub(super) fn write(dirs: &[PathBuf], request_id: u128, out: &mut dyn Write) -> io::Result<()> {
    let mut found = 0;
    for dir in dirs {
        for segment in segments(dir, Row::Bodies)? {
            found += write_segment(&segment.path, request_id, out)?;
        }
    }
    if found == 0 {
        eprintln!("no body of this exchange was logged, or its segment was deleted");
    }
    Ok(())
}

fn write_segment(path: &Path, request_id: u128, out: &mut dyn Write) -> io::Result<u32> {
    let mut reader = SegmentReader::new(File::open(path)?, 0, None);
    let mut found = 0;
    while let Some(piece) = reader.next_piece()? {
        let Piece::Block { head, payload, .. } = piece else { continue };
        if head.kind != BlockKind::Body {
            continue;
        }
        let Ok(body) = Body::decode(payload) else { continue };
        if body.request_id != request_id {
            continue;
        }
        found += 1;
        let name = if body.side == Side::Request { "request" } else { "response" };
        let cut = if body.cut { ", cut" } else { "" };
        writeln!(out, "\n{name} body, {} bytes{cut}", body.length)?;
        out.write_all(&decompress(&body)?)?;
        writeln!(out)?;
    }
    Ok(found)
}

/// The bytes of a body.
///
/// # Errors
/// If they are no zstd data of the length that they claim.
pub(super) fn decompress(body: &Body<'_>) -> io::Result<Vec<u8>> {
    let length = usize::try_from(body.length).unwrap_or(usize::MAX);
    if length > limits::LOG_BODY_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a body claims to be too long"));
    }
    let bytes = zstd::bulk::decompress(body.compressed, length)?;
    if bytes.len() != length {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a body has another length"));
    }
    Ok(bytes)
}
