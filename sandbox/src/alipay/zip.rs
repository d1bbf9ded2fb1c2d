//! A ZIP file as Alipay packs bills: names in GBK, without the flag that would say which charset they are in.

use std::io::Write;

use encoding_rs::GBK;
use flate2::{Compression, Crc, write::DeflateEncoder};

/// Packs texts, in GBK, under their names. Fails only if they are longer than a ZIP file can say.
pub(super) fn pack(files: &[(String, String)]) -> Option<Vec<u8>> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for (name, text) in files {
        let (name, text) = (GBK.encode(name).0, GBK.encode(text).0);
        let mut packer = DeflateEncoder::new(Vec::new(), Compression::default());
        packer.write_all(&text).ok()?;
        let packed = packer.finish().ok()?;
        let mut crc = Crc::new();
        crc.update(&text);
        // Version, no flags, deflated, a moment nobody reads; CRC, lengths, no extra field.
        let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0];
        let lengths = [crc.sum(), u32::try_from(packed.len()).ok()?, u32::try_from(text.len()).ok()?];
        common.extend(lengths.iter().flat_map(|number| number.to_le_bytes()));
        common.extend(u16::try_from(name.len()).ok()?.to_le_bytes());
        common.extend([0, 0]);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(u32::try_from(zip.len()).ok()?.to_le_bytes());
        directory.extend(name.iter());
        zip.extend(b"PK\x03\x04");
        zip.extend(common);
        zip.extend(name.iter());
        zip.extend(packed);
    }
    let count = u16::try_from(files.len()).ok()?.to_le_bytes();
    let (length, at) = (u32::try_from(directory.len()).ok()?, u32::try_from(zip.len()).ok()?);
    zip.extend(directory);
    zip.extend(b"PK\x05\x06\0\0\0\0");
    zip.extend([count, count].concat());
    zip.extend([length.to_le_bytes(), at.to_le_bytes()].concat());
    zip.extend([0, 0]);
    Some(zip)
}
