//! A ZIP file, as far as a bill is one: some members, stored or deflated, each checked against its length and CRC.
//!
//! Source: PKWARE's APPNOTE. Names are not read: Alipay writes them in GBK and does not say so. The file may come
//! from anybody, so its directory has a fixed bound (a general reader builds it in memory first, however long it is),
//! and what it promises to unpack to is bounded before anything is unpacked and held to afterwards.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::Crc;
use flate2::read::DeflateDecoder;

/// A bill has two members.
const MEMBERS: usize = 16;
const DIRECTORY_LIMIT: usize = 64 * 1024;
/// All members together.
const UNPACKED_LIMIT: u64 = 8 * 1024 * 1024 * 1024;
/// How much longer than packed the members may be, all together; bills manage ten.
const RATIO_LIMIT: u64 = 200;
/// End record, and the longest comment behind it.
const END: usize = 22;
const COMMENT_LIMIT: usize = 65_535;

/// Why it cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong(pub &'static str);

impl From<io::Error> for Wrong {
    fn from(_: io::Error) -> Self {
        Self("is a ZIP file that breaks off")
    }
}

/// An open ZIP file.
pub(super) struct Archive {
    file: File,
    members: Vec<Member>,
}

struct Member {
    at: u64,
    packed: u64,
    unpacked: u64,
    crc: u32,
    deflated: bool,
}

impl Archive {
    /// Reads the directory.
    pub(super) fn open(mut file: File) -> Result<Self, Wrong> {
        let length = file.seek(SeekFrom::End(0))?;
        let tail_length = length.min((END + COMMENT_LIMIT) as u64);
        let tail = bytes(&file, length - tail_length, tail_length as usize)?;
        let is_end = |at: &usize| {
            let rest = &tail[*at..];
            rest.starts_with(b"PK\x05\x06") && usize::from(u16_at(rest, 20)) == rest.len() - END
        };
        let end = (0..(tail.len() + 1).saturating_sub(END)).rev().find(is_end).ok_or(Wrong("is no ZIP file"))?;
        let end = &tail[end..];
        let (count, size, at) = (usize::from(u16_at(end, 10)), u32_at(end, 12) as usize, u64::from(u32_at(end, 16)));
        if u32_at(end, 4) != 0 || u16_at(end, 8) != u16_at(end, 10) || count > MEMBERS || size > DIRECTORY_LIMIT {
            return Err(Wrong("is a ZIP file of many parts"));
        }
        let directory = bytes(&file, at, size)?;
        let mut rest = directory.as_slice();
        let mut members = Vec::new();
        for _ in 0..count {
            let (member, after) = Member::read(rest)?;
            members.push(member);
            rest = after;
        }
        let total = |part: fn(&Member) -> u64| members.iter().map(part).sum::<u64>();
        // A few kilobytes pack as well as they like.
        if total(|m| m.unpacked) > UNPACKED_LIMIT || total(|m| m.unpacked) > (length + 4096) * RATIO_LIMIT {
            return Err(Wrong("unpacks to too much"));
        }
        Ok(Self { file, members })
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// What a member holds, unpacked while it is read. One at a time: they share a file.
    pub(super) fn member(&self, index: usize) -> Result<impl Read + use<>, Wrong> {
        let member = self.members.get(index).ok_or(Wrong("has no such member"))?;
        let head = bytes(&self.file, member.at, 30)?;
        if !head.starts_with(b"PK\x03\x04") {
            return Err(Wrong("is a damaged ZIP file"));
        }
        let mut file = self.file.try_clone()?;
        let names = u64::from(u16_at(&head, 26)) + u64::from(u16_at(&head, 28));
        file.seek(SeekFrom::Start(member.at + 30 + names))?;
        let packed = file.take(member.packed);
        let content: Box<dyn Read> =
            if member.deflated { Box::new(DeflateDecoder::new(packed)) } else { Box::new(packed) };
        Ok(Checked { content, left: member.unpacked, crc: Crc::new(), expected: member.crc })
    }
}

impl Member {
    /// Reads the first entry of the directory.
    fn read(directory: &[u8]) -> Result<(Self, &[u8]), Wrong> {
        let wrong = Wrong("is a damaged ZIP file");
        if directory.len() < 46 || !directory.starts_with(b"PK\x01\x02") {
            return Err(wrong);
        }
        let number = |at| u64::from(u32_at(directory, at));
        let length = 46 + [28, 30, 32].map(|at| usize::from(u16_at(directory, at))).iter().sum::<usize>();
        let deflated = match (u16_at(directory, 8) & 1, u16_at(directory, 10)) {
            (0, 0) => false,
            (0, 8) => true,
            _ => return Err(Wrong("is a ZIP file of a kind that bills are not")),
        };
        let member =
            Self { at: number(42), packed: number(20), unpacked: number(24), crc: u32_at(directory, 16), deflated };
        let rest = directory.get(length..).ok_or(wrong)?;
        Ok((member, rest))
    }
}

/// Ends where the directory says, and fails there when it was not what the directory says.
struct Checked {
    content: Box<dyn Read>,
    left: u64,
    crc: Crc,
    expected: u32,
}

impl Read for Checked {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let fits = self.crc.sum() == self.expected;
            return if fits { Ok(0) } else { Err(io::ErrorKind::InvalidData.into()) };
        }
        let most = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.content.read(&mut into[..most])?;
        if read == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.crc.update(&into[..read]);
        self.left -= read as u64;
        Ok(read)
    }
}

fn bytes(mut file: &File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
