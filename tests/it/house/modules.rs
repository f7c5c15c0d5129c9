//! Reads the modules of a package, and resolves what each of them names in the others.
//!
//! It follows `mod` from the root of every crate and parses each file. A module names something in
//! its `use` declarations, in paths of its code, in the arguments of its macros, and in strings of
//! its attributes (`#[serde(with = "…")]`). Names are resolved as the compiler resolves them: through
//! renames, globs and re-exports. Code that is compiled only for tests is left out.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use syn::{
    Attribute, Item, Meta, Token, UseTree,
    punctuated::Punctuated,
    visit::{self, Visit},
};

/// The segments of a path. The first one is empty where the path begins with `::`.
type Segments = Vec<String>;

/// Reads a source file, if it exists.
type ReadFile<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// The crate that a package's other crates import by name.
const LIBRARY: &str = "lib";

/// Aliases of aliases are followed this far. Only a name that stands for itself gets there.
const MOST_ALIASES: usize = 16;

/// A module's name: its crate (`lib`, `main`, `bin/receiver`, `examples/local`), and the path to it
/// from the crate's root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) krate: String,
    pub(super) path: Segments,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let path = self.path.join("::");
        match self.krate.as_str() {
            krate if path.is_empty() => f.write_str(krate),
            "lib" | "main" => f.write_str(&path),
            krate => write!(f, "{krate}::{path}"),
        }
    }
}

impl Name {
    fn root(krate: &str) -> Self {
        Self {
            krate: krate.to_owned(),
            path: Vec::new(),
        }
    }

    fn child(&self, segment: &str) -> Self {
        let mut child = self.clone();
        child.path.push(segment.to_owned());
        child
    }

    fn parent(&self) -> Self {
        let mut parent = self.clone();
        parent.path.pop();
        parent
    }
}

/// The modules of all crates of a package.
pub(super) struct Package {
    /// The name that the package's other crates import its library by.
    library: String,
    modules: BTreeMap<Name, Module>,
    /// Every file of the package, those with code for tests only included.
    pub(super) files: BTreeSet<PathBuf>,
}

/// What one module contains.
#[derive(Default)]
struct Module {
    file: PathBuf,
    /// What its `use` declarations import, by the name that it has in this module.
    aliases: HashMap<String, Segments>,
    /// The paths before `::*` of its `use` declarations.
    globs: Vec<Segments>,
    /// The items that it defines, except modules; macros with their `!`.
    items: HashSet<String>,
    mentions: Vec<Mention>,
}

/// A place where something is named.
struct Mention {
    path: Segments,
    kind: Kind,
    line: usize,
}

/// The syntax that something is named in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `path`
    Path,
    /// `use path::*`
    Glob,
    /// `path!(…)`
    Macro,
    /// `….path(…)`
    Method,
}

/// One module imports from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    pub(super) from: Name,
    pub(super) to: Name,
    /// The file, the line, and the path as it is written there.
    pub(super) place: String,
}

/// A module names something outside of the package.
pub(super) struct External {
    pub(super) module: Name,
    /// The full path, as far as this module's `use` declarations tell it.
    pub(super) path: Segments,
    pub(super) kind: Kind,
    /// The file, the line, and the path as it is written there.
    pub(super) place: String,
}

/// What a path leads to.
#[derive(Default)]
struct Resolved {
    /// The module that defines the item, and those that re-export it on the way.
    modules: Vec<Name>,
    /// The full path, where it leads out of the package.
    external: Option<Segments>,
}

impl Package {
    /// Reads the crates of these names and root files, and the library's name outside of itself.
    pub(super) fn read(library: &str, roots: &[(String, PathBuf)], read: ReadFile) -> Self {
        let mut reader = Reader {
            read,
            modules: BTreeMap::new(),
            files: BTreeSet::new(),
        };
        for (krate, file) in roots {
            let directory = file.parent().unwrap();
            reader.file(&Name::root(krate), file, directory, false);
        }
        Self {
            library: library.to_owned(),
            modules: reader.modules,
            files: reader.files,
        }
    }

    /// The names of all modules.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.modules.keys()
    }

    /// Every import of one module from another, at every place.
    pub(super) fn imports(&self) -> Vec<Import> {
        let imports = self.mentions().flat_map(|(from, place, mention)| {
            let taken = self.taken_from(from, mention).into_iter();
            taken.filter(move |to| to != from).map(move |to| Import {
                from: from.clone(),
                to,
                place: place.clone(),
            })
        });
        imports.collect()
    }

    /// Everything named that is outside of the package.
    pub(super) fn externals(&self) -> Vec<External> {
        let externals = self.mentions().filter_map(|(module, place, mention)| {
            let path = match mention.kind {
                Kind::Method => Some(mention.path.clone()),
                Kind::Path | Kind::Glob | Kind::Macro => {
                    self.resolve(module, &mention.path, 0).external
                }
            };
            Some(External {
                module: module.clone(),
                path: path?,
                kind: mention.kind,
                place,
            })
        });
        externals.collect()
    }

    fn mentions(&self) -> impl Iterator<Item = (&Name, String, &Mention)> {
        self.modules.iter().flat_map(|(name, module)| {
            module.mentions.iter().map(move |mention| {
                let file = module.file.display();
                let path = mention.path.join("::");
                (name, format!("{file}:{}: {path}", mention.line), mention)
            })
        })
    }

    /// The modules that a mention takes something from.
    fn taken_from(&self, from: &Name, mention: &Mention) -> Vec<Name> {
        match (mention.kind, mention.path.as_slice()) {
            (Kind::Glob, path) => match self.module_at(from, path) {
                Some(module) => vec![module],
                // The variants of an enum.
                None => self.resolve(from, path, 0).modules,
            },
            // What `macro_rules!` defines is in scope without an import.
            (Kind::Macro, [name]) => self.definition_of_macro(from, name).into_iter().collect(),
            // A single name is a local one, or one whose `use` declaration is looked at.
            (Kind::Method, _) | (Kind::Path, [_]) => Vec::new(),
            (Kind::Path | Kind::Macro, path) => self.resolve(from, path, 0).modules,
        }
    }

    fn definition_of_macro(&self, from: &Name, name: &str) -> Option<Name> {
        if self.modules[from].aliases.contains_key(name) {
            return None;
        }
        let name = format!("{name}!");
        let mut modules = self.modules.iter();
        let defines = |(at, module): &(&Name, &Module)| {
            at.krate == from.krate && module.items.contains(&name)
        };
        modules.find(defines).map(|(at, _)| at.clone())
    }

    /// Follows a path that `from` contains to the end.
    fn resolve(&self, from: &Name, path: &[String], aliases: usize) -> Resolved {
        let Some((mut at, rest)) = self.start(from, path, aliases) else {
            return Resolved {
                external: Some(self.spelt_out(from, path)),
                ..Resolved::default()
            };
        };
        for (index, segment) in rest.iter().enumerate() {
            let child = at.child(segment);
            if !self.modules.contains_key(&child) {
                let mut resolved = self.reexported(&at, &rest[index..], aliases);
                resolved.modules.push(at);
                return resolved;
            }
            at = child;
        }
        // `crate`, `self` and `super` alone take nothing from the module.
        let is_named = !rest.is_empty() || !is_keyword(path.last().unwrap());
        Resolved {
            modules: is_named.then_some(at).into_iter().collect(),
            external: None,
        }
    }

    /// What `path` leads to, if the module `at` does not define but re-exports it.
    fn reexported(&self, at: &Name, path: &[String], aliases: usize) -> Resolved {
        let module = &self.modules[at];
        if aliases >= MOST_ALIASES || module.items.contains(&path[0]) {
            return Resolved::default();
        }
        if module.aliases.contains_key(&path[0]) {
            return self.resolve(at, path, aliases + 1);
        }
        let globs = module.globs.iter().map(|glob| {
            let path = [glob, path].concat();
            self.resolve(at, &path, aliases + 1)
        });
        globs.fold(Resolved::default(), |all, one| Resolved {
            modules: [all.modules, one.modules].concat(),
            external: all.external.or(one.external),
        })
    }

    /// The module of this package that a path begins in, and the rest of the path from there.
    fn start(&self, from: &Name, path: &[String], aliases: usize) -> Option<(Name, Segments)> {
        let (first, rest) = path.split_first()?;
        if aliases >= MOST_ALIASES {
            return None;
        }
        match first.as_str() {
            "crate" => return Some((Name::root(&from.krate), rest.to_vec())),
            "self" | "super" => return Some(climb(from.clone(), path)),
            _ => {}
        }
        if let Some(path) = self.expanded(from, path) {
            return self.start(from, &path, aliases + 1);
        }
        let child = from.child(first);
        if self.modules.contains_key(&child) {
            return Some((child, rest.to_vec()));
        }
        if *first == self.library && from.krate != LIBRARY {
            return Some((Name::root(LIBRARY), rest.to_vec()));
        }
        let mut globs = self.modules[from].globs.iter();
        globs.find_map(|glob| self.start_in(&self.module_at(from, glob)?, from, path, aliases))
    }

    /// Where a path of `from` begins, if its first segment is imported with `at::*`.
    fn start_in(
        &self,
        at: &Name,
        from: &Name,
        path: &[String],
        aliases: usize,
    ) -> Option<(Name, Segments)> {
        let is_child = self.modules.contains_key(&at.child(&path[0]));
        let defines = self.modules[at].items.contains(&path[0]);
        if at == from {
            None
        } else if is_child || defines {
            Some((at.clone(), path.to_vec()))
        } else {
            self.start(at, path, aliases + 1)
        }
    }

    /// The module that a path stands for, if it is one of this package. Globs are not followed.
    fn module_at(&self, from: &Name, path: &[String]) -> Option<Name> {
        let (first, rest) = path.split_first()?;
        let (mut at, rest) = if is_keyword(first) {
            self.start(from, path, 0)?
        } else if let Some(path) = self.expanded(from, path) {
            return self.module_at(from, &path);
        } else if *first == self.library && from.krate != LIBRARY {
            (Name::root(LIBRARY), rest.to_vec())
        } else {
            (from.clone(), path.to_vec())
        };
        for segment in &rest {
            at = at.child(segment);
        }
        self.modules.contains_key(&at).then_some(at)
    }

    /// The path with its first segment replaced by what this module imports under that name.
    fn expanded(&self, from: &Name, path: &[String]) -> Option<Segments> {
        let alias = self.modules[from].aliases.get(&path[0])?;
        // `use serde_json;` says nothing new.
        (alias[..] != path[..1]).then(|| [alias, &path[1..]].concat())
    }

    fn spelt_out(&self, from: &Name, path: &[String]) -> Segments {
        let mut path = path.to_vec();
        for _ in 0..MOST_ALIASES {
            match self.expanded(from, &path) {
                Some(expanded) => path = expanded,
                None => break,
            }
        }
        path.retain(|segment| !segment.is_empty());
        path
    }
}

/// Where `self` and `super` at the beginning of a path lead to, and the rest of the path.
fn climb(from: Name, path: &[String]) -> (Name, Segments) {
    let mut at = from;
    let keywords = path.iter().take_while(|it| *it == "self" || *it == "super");
    let count = keywords.clone().count();
    for _ in keywords.filter(|it| *it == "super") {
        at = at.parent();
    }
    (at, path[count..].to_vec())
}

fn is_keyword(segment: &str) -> bool {
    matches!(segment, "crate" | "self" | "super")
}

/// Reads the files of a package.
struct Reader<'a> {
    read: ReadFile<'a>,
    modules: BTreeMap<Name, Module>,
    files: BTreeSet<PathBuf>,
}

impl Reader<'_> {
    /// Reads a file, and those of its child modules from `directory`.
    fn file(&mut self, name: &Name, file: &Path, directory: &Path, for_tests: bool) {
        let text = (self.read)(file).unwrap_or_else(|| panic!("cannot read {}", file.display()));
        let parsed = syn::parse_file(&text);
        let parsed = parsed.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.files.insert(file.to_owned());
        let for_tests = for_tests || is_for_tests(&parsed.attrs);
        self.module(name, file, directory, &parsed.items, for_tests);
    }

    fn module(
        &mut self,
        name: &Name,
        file: &Path,
        directory: &Path,
        items: &[Item],
        for_tests: bool,
    ) {
        let mut found = Found::default();
        for item in items {
            found.visit_item(item);
        }
        if !for_tests {
            file.clone_into(&mut found.module.file);
            self.modules.insert(name.clone(), found.module);
        }
        for child in found.children {
            let segment = child.ident.to_string();
            let for_tests = for_tests || is_for_tests(&child.attrs);
            let name = name.child(&segment);
            let directory = directory.join(&segment);
            if let Some((_, items)) = &child.content {
                self.module(&name, file, &directory, items, for_tests);
                continue;
            }
            let beside = directory.with_extension("rs");
            let is_beside = (self.read)(&beside).is_some();
            let file = if is_beside {
                beside
            } else {
                directory.join("mod.rs")
            };
            self.file(&name, &file, &directory, for_tests);
        }
    }
}

/// Collects what a module contains, without the code that is for tests only.
#[derive(Default)]
struct Found<'ast> {
    module: Module,
    children: Vec<&'ast syn::ItemMod>,
    /// Whether what is visited stands in an attribute.
    in_attribute: bool,
}

/// Visits nodes of these types, unless they are for tests only.
macro_rules! leave_out_tests {
    ($($visit:ident: $Node:ident),+) => {
        $(fn $visit(&mut self, node: &'ast syn::$Node) {
            if !is_for_tests(&node.attrs) {
                visit::$visit(self, node);
            }
        })+
    };
}

impl<'ast> Visit<'ast> for Found<'ast> {
    leave_out_tests!(
        visit_arm: Arm,
        visit_expr_block: ExprBlock,
        visit_field: Field,
        visit_field_value: FieldValue,
        visit_impl_item_const: ImplItemConst,
        visit_impl_item_fn: ImplItemFn,
        visit_local: Local,
        visit_stmt_macro: StmtMacro,
        visit_trait_item_fn: TraitItemFn,
        visit_variant: Variant
    );

    fn visit_item(&mut self, node: &'ast Item) {
        if let Item::Mod(module) = node {
            self.children.push(module);
            return;
        }
        let (attributes, name) = attributes_and_name(node);
        if is_for_tests(attributes) {
            return;
        }
        self.module.items.extend(name);
        visit::visit_item(self, node);
    }

    fn visit_item_use(&mut self, node: &'ast syn::ItemUse) {
        let prefix = node.leading_colon.as_ref().map(|_| String::new());
        self.import(prefix.into_iter().collect(), &node.tree);
    }

    // `pub(crate)` names who may import from here, not what is imported.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_path(&mut self, node: &'ast syn::Path) {
        self.mention(node, Kind::Path);
        visit::visit_path(self, node);
    }

    fn visit_expr_method_call(&mut self, node: &'ast syn::ExprMethodCall) {
        self.module.mentions.push(Mention {
            path: vec![node.method.to_string()],
            kind: Kind::Method,
            line: node.method.span().start().line,
        });
        visit::visit_expr_method_call(self, node);
    }

    fn visit_macro(&mut self, node: &'ast syn::Macro) {
        self.mention(&node.path, Kind::Macro);
        self.scan(node.tokens.clone(), &[]);
    }

    fn visit_attribute(&mut self, node: &'ast Attribute) {
        if node.path().is_ident("doc") {
            return;
        }
        self.in_attribute = true;
        visit::visit_attribute(self, node);
        self.in_attribute = false;
    }

    fn visit_token_stream(&mut self, node: &'ast TokenStream) {
        self.scan(node.clone(), &[]);
    }
}

impl Found<'_> {
    fn mention(&mut self, path: &syn::Path, kind: Kind) {
        let first = path.segments.first().map(|it| it.ident.span());
        let line = first.map_or(0, |span| span.start().line);
        let root = path.leading_colon.as_ref().map(|_| String::new());
        let segments = path.segments.iter().map(|it| it.ident.to_string());
        let path = root.into_iter().chain(segments).collect();
        self.module.mentions.push(Mention { path, kind, line });
    }

    /// Takes in the `use` declaration of a tree behind a prefix.
    fn import(&mut self, mut prefix: Segments, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.import(prefix, &path.tree);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(prefix.clone(), tree);
                }
            }
            UseTree::Name(name) => self.import_name(prefix, &name.ident, None),
            UseTree::Rename(name) => self.import_name(prefix, &name.ident, Some(&name.rename)),
            UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                self.module.globs.push(prefix.clone());
                self.module.mentions.push(Mention {
                    path: prefix,
                    kind: Kind::Glob,
                    line,
                });
            }
        }
    }

    fn import_name(&mut self, mut path: Segments, name: &Ident, rename: Option<&Ident>) {
        let line = name.span().start().line;
        // In `use path::{self}` the name is the path's last one.
        if name != "self" || path.is_empty() {
            path.push(name.to_string());
        }
        let alias = rename.map(Ident::to_string);
        let alias = alias.unwrap_or_else(|| path.last().unwrap().clone());
        self.module.aliases.insert(alias, path.clone());
        let kind = Kind::Path;
        self.module.mentions.push(Mention { path, kind, line });
    }

    /// Finds paths in tokens that nobody has parsed: a macro's arguments and an attribute's. The
    /// prefix stands before a group of a `use` declaration.
    fn scan(&mut self, tokens: TokenStream, prefix: &[String]) {
        let trees: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(tree) = trees.get(at) {
            match tree {
                TokenTree::Ident(first) => {
                    let is_entry = at == 0 || is_punct(&trees[at - 1], ',');
                    let prefix = if is_entry { prefix } else { &[] };
                    let method = at > 0 && is_punct(&trees[at - 1], '.');
                    at = self.scan_path(&trees, at, prefix, first, method);
                    continue;
                }
                TokenTree::Group(group) => self.scan(group.stream(), &[]),
                TokenTree::Literal(literal) if self.in_attribute => {
                    let literal = syn::parse_str::<syn::LitStr>(&literal.to_string());
                    if let Some(path) = literal.ok().and_then(|it| it.parse::<syn::Path>().ok()) {
                        self.mention(&path, Kind::Path);
                    }
                }
                TokenTree::Literal(_) | TokenTree::Punct(_) => {}
            }
            at += 1;
        }
    }

    /// Takes in the path that begins at a token, and returns the place after it.
    fn scan_path(
        &mut self,
        trees: &[TokenTree],
        mut at: usize,
        prefix: &[String],
        first: &Ident,
        method: bool,
    ) -> usize {
        let line = first.span().start().line;
        let mut path = [prefix, &[first.to_string()]].concat();
        at += 1;
        while let [TokenTree::Punct(one), TokenTree::Punct(two), next, ..] = &trees[at..]
            && (one.as_char(), two.as_char()) == (':', ':')
        {
            match next {
                TokenTree::Ident(segment) => path.push(segment.to_string()),
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    self.scan(group.stream(), &path);
                    return at + 3;
                }
                _ => break,
            }
            at += 3;
        }
        let kind = match &trees[at..] {
            [colon, _, star, ..] if is_punct(colon, ':') && is_punct(star, '*') => Kind::Glob,
            [bang, TokenTree::Group(_), ..] if is_punct(bang, '!') => Kind::Macro,
            [TokenTree::Group(group), ..] if method && is_call(group) => Kind::Method,
            _ => Kind::Path,
        };
        self.module.mentions.push(Mention { path, kind, line });
        at
    }
}

fn is_punct(tree: &TokenTree, wanted: char) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn is_call(group: &Group) -> bool {
    group.delimiter() == Delimiter::Parenthesis
}

/// The attributes of an item, and its name if others can import it.
fn attributes_and_name(item: &Item) -> (&[Attribute], Option<String>) {
    let name = |ident: &Ident| Some(ident.to_string());
    match item {
        Item::Const(it) => (&it.attrs, name(&it.ident)),
        Item::Enum(it) => (&it.attrs, name(&it.ident)),
        Item::ExternCrate(it) => (&it.attrs, None),
        Item::Fn(it) => (&it.attrs, name(&it.sig.ident)),
        Item::ForeignMod(it) => (&it.attrs, None),
        Item::Impl(it) => (&it.attrs, None),
        Item::Macro(it) => (
            &it.attrs,
            it.ident.as_ref().map(|ident| format!("{ident}!")),
        ),
        Item::Mod(it) => (&it.attrs, None),
        Item::Static(it) => (&it.attrs, name(&it.ident)),
        Item::Struct(it) => (&it.attrs, name(&it.ident)),
        Item::Trait(it) => (&it.attrs, name(&it.ident)),
        Item::Type(it) => (&it.attrs, name(&it.ident)),
        Item::Union(it) => (&it.attrs, name(&it.ident)),
        Item::Use(it) => (&it.attrs, None),
        _ => (&[], None),
    }
}

/// Whether something is compiled for tests only.
pub(super) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let last = attribute.path().segments.last();
        let is_test = last.is_some_and(|segment| segment.ident == "test");
        let is_cfg = attribute.path().is_ident("cfg");
        is_test || is_cfg && attribute.parse_args().is_ok_and(|it| needs_test(&it))
    })
}

/// Whether a condition of `cfg` holds in tests only.
fn needs_test(condition: &Meta) -> bool {
    let Meta::List(list) = condition else {
        return condition.path().is_ident("test");
    };
    let conditions = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    let Ok(conditions) = conditions else {
        return false;
    };
    if list.path.is_ident("all") {
        conditions.iter().any(needs_test)
    } else {
        list.path.is_ident("any") && !conditions.is_empty() && conditions.iter().all(needs_test)
    }
}
