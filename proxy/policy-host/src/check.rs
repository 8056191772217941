//! Is it a component, and does it have the world's imports (none) and exports (a picker)?

use wasmtime::Engine;
use wasmtime::component::types::{self, ComponentInstance, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex};

use crate::error::Refusal;

const PICKER: &str = "rankwise:policy/picker";
const SCORER: &str = "rankwise:policy/scorer@0.1.0";
const LEARNER: &str = "rankwise:policy/learner@0.1.0";
const FUNCTIONS: [&str; 2] = ["configure", "pick"];

/// Whether the bytes begin like a component in binary form. Precompiled files are never taken: a crafted one is
/// arbitrary code execution.
pub(crate) fn format(bytes: &[u8]) -> Result<(), Refusal> {
    let looks_like = match bytes {
        [] => "the file is empty".to_owned(),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => return Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => return Err(Refusal::CoreModule),
        [0, b'a', b's', b'm', a, b, c, d, ..] => {
            format!(
                "binary version {a:02x} {b:02x} {c:02x} {d:02x} is not known (a component has 0d 00 01 00)"
            )
        }
        [0x7f, b'E', b'L', b'F', ..] => {
            "a native or precompiled file (ELF); only .wasm is taken, it is compiled here".to_owned()
        }
        _ if begins_with(bytes, b"(component") || begins_with(bytes, b"(module") => {
            "WebAssembly text; it has to be converted to binary form first".to_owned()
        }
        _ if std::str::from_utf8(bytes.get(..256).unwrap_or(bytes)).is_ok() => "a text file".to_owned(),
        _ => "it does not begin with \\0asm".to_owned(),
    };
    Err(Refusal::NotAComponent(looks_like))
}

fn begins_with(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(prefix)
}

/// Whether imports and exports are the world's. Further exports do no harm: a later 0.1 may have more interfaces.
pub(crate) fn world(component: &types::Component, engine: &Engine) -> Result<(), Refusal> {
    let imports: Vec<String> = component
        .imports(engine)
        .filter(|(_, import)| !is_types_only(&import.ty, engine))
        .map(|(name, _)| name.to_owned())
        .collect();
    if !imports.is_empty() {
        return Err(Refusal::Imports(imports));
    }
    let picker = component.exports(engine).find_map(|(name, export)| match export.ty {
        ComponentItem::ComponentInstance(instance) if is_picker(name) => Some(instance),
        _ => None,
    });
    let Some(picker) = picker else {
        return Err(Refusal::Export {
            wanted: format!("{PICKER}@0.1.0"),
            found: component.exports(engine).map(|(name, _)| name.to_owned()).collect(),
        });
    };
    functions(&picker, engine)
}

fn functions(picker: &ComponentInstance, engine: &Engine) -> Result<(), Refusal> {
    for wanted in FUNCTIONS {
        let export = picker.get_export(engine, wanted).map(|export| export.ty);
        if !matches!(export, Some(ComponentItem::ComponentFunc(_))) {
            return Err(Refusal::Export {
                wanted: format!("function {wanted} in {PICKER}@0.1.0"),
                found: picker.exports(engine).map(|(name, _)| name.to_owned()).collect(),
            });
        }
    }
    Ok(())
}

/// Interfaces beside the picker, by their functions, as far as the component has them.
pub(crate) fn optional(component: &Component) -> Optional {
    let function = |interface: &str, name: &str| {
        let interface = component.get_export_index(None, interface)?;
        component.get_export_index(Some(&interface), name)
    };
    Optional { score: function(SCORER, "score"), learn: function(LEARNER, "learn") }
}

/// Functions that a component need not have.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Optional {
    pub(crate) score: Option<ComponentExportIndex>,
    pub(crate) learn: Option<ComponentExportIndex>,
}

/// Compatible versions are those that the component model links: 0.1 and any patch.
fn is_picker(name: &str) -> bool {
    name.strip_prefix(PICKER).and_then(|rest| rest.strip_prefix("@0.1.")).is_some_and(|patch| {
        let number = patch.split('+').next().unwrap_or_default();
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    })
}

/// What tools emit for an interface of which only types are used.
fn is_types_only(item: &ComponentItem, engine: &Engine) -> bool {
    match item {
        ComponentItem::Type(_) => true,
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(engine).all(|(_, export)| is_types_only(&export.ty, engine))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        format(bytes).unwrap_err().to_string()
    }

    #[test]
    fn other_files_are_named() {
        assert_eq!(refusal(b""), "not a WebAssembly component: the file is empty");
        assert_eq!(refusal(b"\0asm\x01\0\0\0"), "is a core module, not a component");
        assert!(refusal(b"\x7fELF\x02\x01\x01").contains("precompiled file (ELF)"));
        assert!(refusal(b"\n (component)").contains("WebAssembly text"));
        assert_eq!(refusal(b"fn main() {}"), "not a WebAssembly component: a text file");
        assert!(refusal(b"\xff\xfe\0\x01").contains("does not begin with"));
        assert!(refusal(b"\0asm\x0a\0\x01\0").contains("0a 00 01 00"));
        assert_eq!(format(b"\0asm\x0d\0\x01\0"), Ok(()));
    }

    #[test]
    fn any_patch_of_the_interface_fits() {
        assert!(is_picker("rankwise:policy/picker@0.1.0"));
        assert!(is_picker("rankwise:policy/picker@0.1.17"));
        for other in
            ["rankwise:policy/picker", "rankwise:policy/picker@0.2.0", "rankwise:policy/picker@0.1.0-rc"]
        {
            assert!(!is_picker(other), "{other}");
        }
    }
}
