//! What was kept of one rank's blocks: any bytes are an image, or an error, and an image is the same bytes again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwise_core::image::Image;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(image) = Image::decode(bytes) {
        let mut again = Vec::new();
        image.encode(&mut again);
        // What hangs off nothing is written in one way, and may be read in several.
        assert_eq!(Image::decode(&again).as_ref(), Ok(&image));
        assert!(image.names() <= bytes.len() / 8);
    }
});
