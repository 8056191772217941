use super::*;

fn file() -> WarmFile {
    let record = |worker: &str, rank, group: Option<u32>| RankRecord {
        pool: "main".into(),
        worker: worker.into(),
        rank,
        checkpoint: Checkpoint { sequence: 7, digest: u64::MAX, complete: group.is_none(), group },
        image: vec![rank as u8; 300],
    };
    WarmFile { secret: [9; 32], ranks: vec![record("a", 0, None), record("b", 1, Some(3))] }
}

fn encoded(file: &WarmFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &file.secret).unwrap();
    file.ranks.iter().for_each(|rank| writer.rank(rank).unwrap());
    writer.finish().unwrap();
    bytes
}

#[test]
fn a_file_is_read_as_it_was_written() {
    assert_eq!(WarmFile::decode(&encoded(&file())), Ok(file()));
    let empty = WarmFile { ranks: Vec::new(), ..file() };
    assert_eq!(WarmFile::decode(&encoded(&empty)), Ok(empty));
}

#[test]
fn a_file_that_was_cut_or_changed_anywhere_is_refused() {
    let bytes = encoded(&file());
    for end in 0..bytes.len() {
        assert!(WarmFile::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 4;
        let error = WarmFile::decode(&changed).unwrap_err();
        assert_eq!(error, if at < MAGIC.len() { FileError::Foreign } else { FileError::Torn }, "byte {at}");
    }
    assert_eq!(WarmFile::decode(&[&bytes[..], &[0]].concat()), Err(FileError::Torn));
}

#[test]
fn another_version_is_foreign() {
    assert_eq!(WarmFile::decode(b""), Err(FileError::Foreign));
    assert_eq!(WarmFile::decode(b"rankwise-index-2\nand what that may contain"), Err(FileError::Foreign));
    assert_eq!(WarmFile::decode(&[0; 200]), Err(FileError::Foreign));
}

#[test]
fn a_record_that_makes_no_sense_is_named() {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &[1; 32]).unwrap();
    writer.rank(&file().ranks[0]).unwrap();
    writer.put(&[MORE, 1, 2, 3]).unwrap();
    writer.finish().unwrap();
    assert_eq!(WarmFile::decode(&bytes), Err(FileError::Record(1)));
}
