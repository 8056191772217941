use super::*;

fn image() -> Image {
    let (tier, group) = (Tier::Host, CacheGroup(2));
    let prefixes = |from: u64, count: u64| (from..from + count).map(PrefixHash).collect();
    Image {
        block_size: BlockSize(16),
        paths: vec![
            Path { parent: None, chain: prefixes(1, 5) },
            Path { parent: Some((0, 5)), chain: prefixes(10, 1) },
        ],
        runs: vec![
            Run { path: 0, start: 3, tier, group, names: vec![EngineHash(7), EngineHash(u64::MAX)] },
            Run { path: 1, start: 0, tier: Tier::Device, group, names: vec![EngineHash(0)] },
        ],
        copies: vec![Copies { tier, group, name: EngineHash(7), more: 3 }],
    }
}

fn encoded(image: &Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.encode(&mut bytes);
    bytes
}

#[test]
fn an_image_survives_as_bytes() {
    assert_eq!(Image::decode(&encoded(&image())), Ok(image()));
    assert_eq!(image().names(), 3);
}

#[test]
fn what_is_too_short_or_too_long_is_refused() {
    let bytes = encoded(&image());
    for end in 0..bytes.len() {
        assert!(matches!(Image::decode(&bytes[..end]), Err(ImageError::Short(_))), "{end}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(Image::decode(&longer), Err(ImageError::Long(bytes.len())));
}

#[test]
fn what_refers_to_nothing_is_refused() {
    let refused = |change: &dyn Fn(&mut Image)| {
        let mut image = image();
        change(&mut image);
        match Image::decode(&encoded(&image)) {
            Err(ImageError::Wrong { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&|image| image.paths[1].parent = Some((1, 1))), "a path hangs off what is not there");
    assert_eq!(refused(&|image| image.paths[1].parent = Some((0, 6))), "a path hangs off what is not there");
    assert_eq!(refused(&|image| image.paths[1].parent = Some((0, 0))), "a path hangs off what is not there");
    assert_eq!(refused(&|image| image.runs[0].start = 4), "a run of blocks that are not there");
    assert_eq!(refused(&|image| image.runs[0].path = 2), "a run of blocks that are not there");
    assert_eq!(refused(&|image| image.runs[0].names.clear()), "no extent has so many blocks");
    assert_eq!(refused(&|image| image.paths[0].chain.clear()), "no extent has so many blocks");
}
