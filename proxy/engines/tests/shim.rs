//! TensorRT-LLM's shim is Python: its own tests, run here where there is one. They need neither TensorRT-LLM nor ZMQ.

use std::path::Path;
use std::process::Command;

#[test]
fn the_shims_own_tests_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim");
    let tests = Command::new("python3").args(["-B", "-m", "unittest"]).current_dir(folder).output();
    match tests {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => println!("no python3: not tested"),
        Err(error) => panic!("python3: {error}"),
    }
}
