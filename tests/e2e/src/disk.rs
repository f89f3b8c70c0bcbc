//! What a bad disk does: bytes of shards change or vanish under a running provider.
//!
//! Never: touches the index; a provider must not be able to tell beforehand.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// What happens to shard bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// One bit of every block is turned over.
    Flip,
    /// All bytes become a hole.
    Erase,
}

const BLOCK_LEN: u64 = 512;
/// Of the common file systems; shards begin at multiples of it.
const FS_BLOCK_LEN: u64 = 4096;

/// Damages all shard bytes in the volume files under a provider's directory; gives how many bytes were there.
pub fn damage_volumes(dir: &Path, damage: Damage) -> Result<u64> {
    let mut hurt = 0;
    for path in volumes(dir)? {
        let file = File::options().read(true).write(true).open(&path).with_context(|| path.display().to_string())?;
        let len = file.metadata()?.len();
        hurt += len;
        match damage {
            Damage::Erase => {
                let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
                rustix::fs::fallocate(&file, flags, 0, len).with_context(|| format!("punch {}", path.display()))?;
            }
            Damage::Flip => {
                for at in (0..len).step_by(BLOCK_LEN as usize) {
                    let mut byte = [0];
                    file.read_exact_at(&mut byte, at)?;
                    file.write_all_at(&[byte[0] ^ 0x10], at)?;
                }
            }
        }
    }
    Ok(hurt)
}

/// Bytes that shards take on a provider's disks: what is written in its volume files, so punched holes count as free. Not `st_blocks`:
/// a file of more than four extents has a block of ext4's own for its extent tree, which stays when the extents are punched.
pub fn used_len(dir: &Path) -> Result<u64> {
    let mut used = 0;
    for path in volumes(dir)? {
        match File::open(&path) {
            Ok(file) => used += written_len(&file).with_context(|| path.display().to_string())?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {} // deleted meanwhile
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        }
    }
    Ok(used)
}

/// Bytes of a file that are no hole, in whole blocks: the last one counts the same whether or not the file goes on after it.
fn written_len(file: &File) -> Result<u64> {
    let (mut used, mut at) = (0, 0);
    loop {
        let data = match seek(file, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => return Ok(used),
            Err(error) => return Err(error.into()),
        };
        at = seek(file, SeekFrom::Hole(data))?.next_multiple_of(FS_BLOCK_LEN);
        used += at - data;
    }
}

/// The volume files of a provider, non-empty ones only.
fn volumes(dir: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "vol") && path.metadata()?.len() > 0 {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn punched_blocks_are_free_however_many_there_were() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = File::options().read(true).write(true).create_new(true).open(dir.path().join("0.vol"))?;
        let block = |number: u64| number * 40_960;
        for number in 0..3 {
            file.write_all_at(&[7; 100], block(number))?;
        }
        assert_eq!(used_len(dir.path())?, 3 * 4096);
        for number in 3..40 {
            file.write_all_at(&[7; 4096], block(number))?;
        }
        file.sync_all()?;
        assert_eq!(used_len(dir.path())?, 40 * 4096);
        let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        for number in 3..40 {
            rustix::fs::fallocate(&file, flags, block(number), 4096)?;
        }
        file.sync_all()?;
        assert_eq!(used_len(dir.path())?, 3 * 4096);
        Ok(())
    }
}
