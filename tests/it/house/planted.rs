//! Tests of the tests: sources with a known mistake, which must be found.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    describe_circles, differences,
    files::{Function, forbidden, functions},
    logs,
    modules::Package,
    reads_a_clock, users,
};

/// A package of these files, the library's root first.
fn package(files: &[(&str, &str)]) -> Package {
    let texts: BTreeMap<_, _> = files
        .iter()
        .map(|(file, text)| (Path::new(file), *text))
        .collect();
    let roots = ["lib", "main", "bin/planted"].map(|krate| {
        let file = PathBuf::from(format!("src/{krate}.rs"));
        (krate.to_owned(), file)
    });
    let roots: Vec<_> = roots
        .into_iter()
        .filter(|(_, it)| texts.contains_key(it.as_path()))
        .collect();
    let read = |file: &Path| texts.get(file).map(|text| (*text).to_owned());
    Package::read("planted", &roots, &read)
}

/// The imports of a library with modules `a`, `b` and `c`, of which `a` has this code, `b` has items
/// and a child module, and `c` re-exports from both.
fn imports_of_a(code: &str) -> Vec<String> {
    let package = package(&[
        (
            "src/lib.rs",
            "mod a; mod b; mod c; pub fn root() {} pub struct Root;",
        ),
        ("src/a.rs", code),
        (
            "src/b.rs",
            "pub mod inner; pub struct B; pub fn b() {} macro_rules! b_macro { () => {} }",
        ),
        ("src/b/inner.rs", "pub struct Inner;"),
        (
            "src/c.rs",
            "pub use crate::b::inner::Inner as Renamed; pub use std::time::Instant; pub struct C;",
        ),
    ]);
    let imports = package.imports().into_iter();
    let imports = imports.filter(|it| it.from.to_string() == "a");
    let imported: BTreeSet<_> = imports.map(|it| it.to.to_string()).collect();
    imported.into_iter().collect()
}

#[test]
fn an_import_is_found_however_it_is_written() {
    let b = [
        // Declarations.
        "use crate::b::B;",
        "use crate::b;",
        "use crate::b::*;",
        "use crate::b::B::*;",
        "use crate::{b::B};",
        "use crate::{b::{self, B}};",
        "use crate::{b as other};",
        "use crate::b::B as _;",
        "use super::b::B;",
        "use super::{b::{B}};",
        "pub(crate) use crate::b::B;",
        "fn f() { use crate::b::B; }",
        // Paths in code.
        "fn f() { crate::b::b() }",
        "fn f() { super::b::b() }",
        "fn f() { self::super::b::b() }",
        "fn f() -> crate::b::B { loop {} }",
        "fn f(b: Vec<crate::b::B>) {}",
        "fn f(x: u8) { match x { crate::b::B => {} _ => {} } }",
        "impl crate::b::B {}",
        "struct A<T: crate::b::B>(T);",
        "fn f() { let x = <crate::b::B as Default>::default(); }",
        "const A: usize = size_of::<crate::b::B>();",
        // Through the root or a glob of it.
        "use crate as root; fn f() { root::b::b() }",
        "use super::{self as up}; fn f() { up::b::b() }",
        // In macros and attributes, which no parser looks into.
        "fn f() { println!(\"{}\", crate::b::b()) }",
        "fn f() { tokio::select! { x = crate::b::b() => x } }",
        "macro_rules! m { () => { $crate::b::b() } }",
        "macro_rules! m { () => { use $crate::{b::{B}}; } }",
        "#[serde(with = \"crate::b\")] struct A;",
        "struct A { #[serde(deserialize_with = \"super::b::b\")] a: u8 }",
        "fn f() { b_macro!() }",
    ];
    for code in b {
        assert_eq!(imports_of_a(code), ["b"], "{code}");
    }
}

#[test]
fn globs_and_aliases_are_followed_to_the_module_that_is_meant() {
    assert_eq!(
        imports_of_a("use super::*; fn f() { b::b() }"),
        ["b", "lib"]
    );
    assert_eq!(imports_of_a("use crate::c::C;"), ["c"]);
    assert_eq!(imports_of_a("use crate::b::inner::Inner;"), ["b::inner"]);
    assert_eq!(
        imports_of_a("use crate::b as x; fn f(_: x::inner::Inner) {}"),
        ["b", "b::inner"]
    );
    assert_eq!(imports_of_a("use crate::c::Renamed;"), ["b::inner", "c"]);
    assert_eq!(imports_of_a("use crate::{Root};"), ["lib"]);
    assert_eq!(imports_of_a("fn f() { crate::root() }"), ["lib"]);
}

#[test]
fn what_imports_nothing_from_the_package_is_no_import() {
    let nothing = [
        "//! [`crate::b`]\n/// [`crate::b::B`]\nfn f() { \"crate::b::B\"; }",
        "pub(in crate::b) struct A;",
        "use b::B;",
        "use ::b::B;",
        "use std::b::B;",
        "struct b; impl b { fn f(&self) { self.b(); } }",
        "fn f(b: u8) { let c = b; }",
        "mod b { pub fn b() {} } fn f() { b::b() }",
    ];
    for code in nothing {
        let imports = imports_of_a(code);
        let outside: Vec<_> = imports.iter().filter(|it| *it != "a::b").collect();
        assert!(outside.is_empty(), "{code}: {imports:?}");
    }
}

#[test]
fn code_for_tests_only_is_left_out() {
    let for_tests = [
        "#[cfg(test)] mod tests { use crate::b::B; }",
        "#[cfg(test)] use crate::b::B;",
        "#[cfg(all(test, unix))] use crate::b::B;",
        "#[cfg(any(test))] use crate::b::B;",
        "#[test] fn f() { crate::b::b() }",
        "#[tokio::test] async fn f() { crate::b::b() }",
        "struct A; impl A { #[cfg(test)] fn f() { crate::b::b() } }",
        "struct A { #[cfg(test)] b: crate::b::B }",
        "fn f() { #[cfg(test)] let b = crate::b::b(); }",
        "#![cfg(test)] use crate::b::B;",
    ];
    for code in for_tests {
        assert!(imports_of_a(code).is_empty(), "{code}");
    }
    for code in [
        "#[cfg(not(test))] use crate::b::B;",
        "#[cfg(any(test, unix))] use crate::b::B;",
    ] {
        assert_eq!(imports_of_a(code), ["b"], "{code}");
    }
}

#[test]
fn a_circle_is_found_with_the_places_that_make_it() {
    let package = package(&[
        ("src/lib.rs", "mod a; mod b; mod c; mod d;"),
        (
            "src/a.rs",
            "use crate::b::B;\nuse crate::d::D;\npub struct A;",
        ),
        ("src/b.rs", "mod inner;\npub struct B;"),
        ("src/b/inner.rs", "fn f() {\n    crate::c::c();\n}"),
        (
            "src/c.rs",
            "use crate::{d::D, a::{A as Other}};\npub fn c() {}",
        ),
        ("src/d.rs", "pub struct D;"),
    ]);
    assert_eq!(
        describe_circles(&package),
        "circle of a, b, c\n\
         \x20 a imports b: src/a.rs:1: crate::b::B\n\
         \x20 b imports c: src/b/inner.rs:2: crate::c::c\n\
         \x20 c imports a: src/c.rs:1: crate::a::A\n"
    );
}

#[test]
fn a_circle_of_child_modules_is_found_through_a_re_export() {
    let package = package(&[
        ("src/lib.rs", "mod a;"),
        ("src/a.rs", "mod x; mod y; pub use self::x::X;"),
        ("src/a/x.rs", "use super::y::Y; pub struct X;"),
        ("src/a/y.rs", "use super::X; pub struct Y;"),
    ]);
    let circles = describe_circles(&package);
    assert!(circles.starts_with("circle of a::x, a::y\n"), "{circles}");
}

#[test]
fn a_circle_with_the_root_of_a_program_is_found() {
    let package = package(&[
        ("src/main.rs", "mod a; struct Error; fn main() { a::a() }"),
        ("src/a.rs", "use crate::Error; pub fn a() {}"),
    ]);
    let circles = describe_circles(&package);
    assert!(circles.starts_with("circle of a, main\n"), "{circles}");
}

#[test]
fn a_child_that_uses_its_parent_is_on_the_same_floor() {
    let package = package(&[
        ("src/lib.rs", "mod a;"),
        ("src/a.rs", "mod x; use self::x::X; struct A;"),
        ("src/a/x.rs", "use super::A; pub struct X;"),
    ]);
    assert_eq!(describe_circles(&package), "");
}

#[test]
fn an_import_that_the_table_does_not_have_is_found() {
    let package = package(&[
        ("src/lib.rs", "mod upper; mod left; mod right;"),
        (
            "src/upper.rs",
            "use crate::left::Left; pub const LIMIT: u8 = 1;",
        ),
        ("src/left.rs", "mod child; pub struct Left;"),
        (
            "src/left/child.rs",
            "const LIMIT: u8 = crate::upper::LIMIT;",
        ),
        ("src/right.rs", "use crate::left;"),
        (
            "src/bin/planted.rs",
            "use planted::{upper as top}; fn main() { top::f() }",
        ),
    ]);
    let found = differences(
        &package,
        "bin/planted: upper\n\n\
         upper: left right\n\n\
         left:\n\
         right:\n\
         gone: upper\n",
    );
    assert_eq!(
        found.lines().collect::<Vec<_>>(),
        [
            "the table has gone import upper, not below it",
            "the table has gone, which does not exist",
            "left imports upper: src/left/child.rs:1: crate::upper::LIMIT",
            "right imports left: src/right.rs:1: crate::left",
            "upper does not import right, as the table has it",
        ]
    );
    let found = differences(&package, "");
    assert!(found.contains("bin/planted is not in the table"), "{found}");
}

#[test]
fn whoever_reads_a_clock_is_found() {
    let reads = [
        "use std::time::Instant; fn f() { Instant::now(); }",
        "use std::time::Instant as T; fn f() { T::now(); }",
        "use std::time; fn f() { time::SystemTime::now(); }",
        "use tokio::time::*; fn f() { Instant::now(); }",
        "fn f() { std::time::SystemTime::now(); }",
        "fn f() { None.unwrap_or_else(tokio::time::Instant::now); }",
        "fn f() { println!(\"{:?}\", std::time::SystemTime::now()); }",
        "use crate::c::Instant as T; fn f() { T::now(); }",
        "fn f(began: std::time::Instant) { began.elapsed(); }",
        "fn f(began: std::time::Instant) { println!(\"{:?}\", began.elapsed()); }",
        "use sdk::SystemTimeSource; fn f() { SystemTimeSource::new(); }",
    ];
    let reads_not = [
        "use std::time::Instant; fn f(at: Instant) -> bool { at > at }",
        "#[cfg(test)] mod tests { fn f() { std::time::Instant::now(); } }",
        "fn f() { crate::a::now(); }",
    ];
    let readers = |code: &str| {
        let c = "pub use std::time::Instant;";
        let package = package(&[
            ("src/lib.rs", "mod a; mod c;"),
            ("src/a.rs", code),
            ("src/c.rs", c),
        ]);
        let readers = users(&package, reads_a_clock);
        readers.into_keys().collect::<Vec<_>>()
    };
    for code in reads {
        assert_eq!(readers(code), ["a"], "{code}");
    }
    for code in reads_not {
        assert!(readers(code).is_empty(), "{code}");
    }
}

#[test]
fn whoever_logs_is_found() {
    let log = [
        "fn f() { tracing::warn!(\"x\"); }",
        "use tracing::info; fn f() { info!(\"x\"); }",
        "use tracing::{self, Level as L, info as say}; fn f() { say!(\"x\"); }",
        "use tracing as t; fn f() { t::error!(\"x\"); }",
        "use tracing::*; fn f() { debug!(\"x\"); }",
        "#[tracing::instrument] fn f() {}",
        "fn f() { select! { _ => tracing::warn!(\"x\") } }",
        "fn f() { println!(\"x\"); }",
        "fn f() { dbg!(1); }",
        "fn f() { select! { _ => eprintln!(\"x\") } }",
    ];
    let log_not = [
        "use tracing::Level; fn f() { write!(x, \"tracing::warn\"); format!(\"x\"); }",
        "#[cfg(test)] fn f() { tracing::warn!(\"x\"); }",
        "fn f(info: u8) { if info != 1 {} }",
    ];
    let loggers = |code: &str| {
        let package = package(&[("src/lib.rs", "mod a;"), ("src/a.rs", code)]);
        let loggers = users(&package, logs);
        loggers.into_keys().collect::<Vec<_>>()
    };
    for code in log {
        assert_eq!(loggers(code), ["a"], "{code}");
    }
    for code in log_not {
        assert!(loggers(code).is_empty(), "{code}");
    }
}

#[test]
fn what_no_file_may_contain_is_found() {
    let found =
        |code: &str| -> Vec<_> { forbidden(code).into_iter().map(|(_, what)| what).collect() };
    let dead = "an allowance of dead code";
    assert_eq!(found("#[path = \"x.rs\"] mod x;"), ["#[path]"]);
    assert_eq!(
        found("#[cfg_attr(unix, path = \"x.rs\")] mod x;"),
        ["#[path]"]
    );
    assert_eq!(found("include!(\"x.rs\");"), ["include!"]);
    assert_eq!(found("#![allow(dead_code)]"), [dead]);
    assert_eq!(found("#[allow(clippy::all, dead_code)] fn f() {}"), [dead]);
    assert_eq!(
        found("#[expect(dead_code, reason = \"x\")] fn f() {}"),
        [dead]
    );
    assert_eq!(found("#[cfg_attr(test, allow(unused))] fn f() {}"), [dead]);
    assert_eq!(found("fn f() { unsafe { g() } }"), ["unsafe"]);
    assert_eq!(found("m! { unsafe impl Send for X {} }"), ["unsafe"]);
    assert_eq!(
        found("mod m { #[cfg(test)] mod tests { #[allow(dead_code)] fn f() {} } }"),
        [dead]
    );
    let innocent = "#![deny(unsafe_code, dead_code)] /// unsafe, #[path = \"x\"]\n\
        fn path() { let path = [allow, dead_code]; x.expect(\"dead_code\"); include_str!(\"x\"); }";
    assert_eq!(found(innocent), [""; 0]);
    assert_eq!(forbidden("fn f() {\n    unsafe {}\n}"), [(2, "unsafe")]);
}

#[test]
fn functions_are_measured_from_their_name_to_their_brace() {
    let code = "\
/// Docs.
#[inline]
pub fn free(
    x: u8,
) -> u8 {
    fn nested() {}
    x
}
impl X {
    async fn method() {
    }
    #[cfg(test)]
    fn for_tests() {}
}
trait T {
    fn required();
    fn default() { }
}
#[cfg(test)]
mod tests {
    fn for_tests() {}
}
";
    let function = |name: &str, line, lines| Function {
        lines,
        name: name.to_owned(),
        line,
    };
    assert_eq!(
        functions(code),
        [
            function("free", 3, 6),
            function("nested", 6, 1),
            function("method", 10, 2),
            function("default", 17, 1),
        ]
    );
}
