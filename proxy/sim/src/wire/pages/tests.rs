use super::*;

const DEVICE: Tier = Tier::Device;

fn style(block_size: u32) -> BatchStyle {
    BatchStyle { layout: crate::EventLayout::Maps, block_size, hash_seed: 0, describes_host: true }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As SGLang's own publisher writes them, but for the media and names that the simulator has not.
#[test]
fn batches_are_byte_for_byte_sglangs() {
    let page = |hash: i64| ChainHash(hash as u64);
    let events = [
        PageEvent::Stored {
            tier: DEVICE,
            parent: None,
            pages: vec![page(-5), page(7)],
            tokens: vec![1, 2],
            salt: None,
        },
        PageEvent::Removed { tier: DEVICE, pages: vec![page(-5)] },
        PageEvent::Cleared,
    ];
    let golden = "93cb3ff80000000000009387a474797065ab426c6f636b53746f726564ac626c6f636b5f68617368657392fb07b1706172656e745f\
        626c6f636b5f68617368c0a9746f6b656e5f696473920102aa626c6f636b5f73697a6501a76c6f72615f6964c0a66d656469756da347505583a4\
        74797065ac426c6f636b52656d6f766564ac626c6f636b5f68617368657391fba66d656469756da347505581a474797065b0416c6c426c6f636b\
        73436c656172656401";
    assert_eq!(hex(&encode(&events, 1, 1.5, &style(1), PageKeys::Sglang)), golden);
}

#[test]
fn copies_are_told_once_and_runs_in_one_event() {
    let (a, b, c) = (ChainHash(1), ChainHash(2), ChainHash(3));
    let stored = |parent, blocks: &[ChainHash]| CacheChange::Stored {
        tier: DEVICE,
        parent,
        blocks: blocks.to_vec(),
        tokens: (0..2 * blocks.len() as u32).collect(),
        salt: None,
    };
    let removed = |block| CacheChange::Removed { tier: DEVICE, block };
    let mut pages = Pages::default();
    assert_eq!(pages.take(&[stored(None, &[a, b])]).len(), 1);
    // The second copy of `a` and `b` is no news, what continues them is.
    let expected =
        PageEvent::Stored { tier: DEVICE, parent: Some(b), pages: vec![c], tokens: vec![4, 5], salt: None };
    assert_eq!(pages.take(&[stored(None, &[a, b, c])]), [expected]);
    assert_eq!(pages.take(&[a, b].map(removed)), []);
    let gone = PageEvent::Removed { tier: DEVICE, pages: vec![c, b, a] };
    assert_eq!(pages.take(&[c, b, a].map(removed)), [gone]);
    assert_eq!(pages.take(&[stored(None, &[a])]).len(), 1);
    assert_eq!(pages.take(&[CacheChange::Cleared, stored(None, &[a])]).len(), 2);
}
