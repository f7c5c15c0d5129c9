//! What is looked for in a single file.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::modules::is_for_tests;

/// What no file may contain, with the lines that do.
pub(super) fn forbidden(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    search(text.parse().unwrap(), &mut found);
    found
}

/// Searches tokens, since a parser knows nothing of what stands in a macro.
fn search(tokens: TokenStream, found: &mut Vec<(usize, &'static str)>) {
    let trees: Vec<_> = tokens.into_iter().collect();
    for (at, tree) in trees.iter().enumerate() {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Ident(ident) if ident == "unsafe" => found.push((line, "unsafe")),
            TokenTree::Ident(ident) if ident == "include" => {
                let next = trees.get(at + 1);
                if matches!(next, Some(TokenTree::Punct(it)) if it.as_char() == '!') {
                    found.push((line, "include!"));
                }
            }
            TokenTree::Group(group) => {
                if group.delimiter() == Delimiter::Bracket && follows_hash(&trees[..at]) {
                    search_attribute(group, found);
                }
                search(group.stream(), found);
            }
            _ => {}
        }
    }
}

/// Whether these tokens end as an attribute begins: with `#` or `#!`.
fn follows_hash(before: &[TokenTree]) -> bool {
    let is =
        |tree: &TokenTree, wanted| matches!(tree, TokenTree::Punct(it) if it.as_char() == wanted);
    match before {
        [.., hash, bang] if is(bang, '!') => is(hash, '#'),
        [.., hash] => is(hash, '#'),
        [] => false,
    }
}

/// Searches an attribute, and those that a `cfg_attr` holds.
fn search_attribute(attribute: &Group, found: &mut Vec<(usize, &'static str)>) {
    let trees: Vec<_> = attribute.stream().into_iter().collect();
    for pair in trees.windows(2) {
        let TokenTree::Ident(name) = &pair[0] else {
            continue;
        };
        let line = name.span().start().line;
        match &pair[1] {
            TokenTree::Punct(punct) if name == "path" && punct.as_char() == '=' => {
                found.push((line, "#[path]"));
            }
            TokenTree::Group(lints) if name == "allow" || name == "expect" => {
                let allows_dead_code = lints.stream().into_iter().any(|lint| {
                    matches!(lint, TokenTree::Ident(it) if it == "dead_code" || it == "unused")
                });
                if allows_dead_code {
                    found.push((line, "an allowance of dead code"));
                }
            }
            TokenTree::Group(nested) if name == "cfg_attr" => search_attribute(nested, found),
            _ => {}
        }
    }
}

/// A function, and the lines from its `fn` to its closing brace.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Function {
    pub(super) lines: usize,
    pub(super) name: String,
    pub(super) line: usize,
}

/// The functions of a file that are not for tests only.
pub(super) fn functions(text: &str) -> Vec<Function> {
    let mut functions = Functions::default();
    let file = syn::parse_file(text).unwrap();
    if !is_for_tests(&file.attrs) {
        functions.visit_file(&file);
    }
    functions.found
}

#[derive(Default)]
struct Functions {
    found: Vec<Function>,
}

impl Functions {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let line = signature.fn_token.span.start().line;
        self.found.push(Function {
            lines: block.brace_token.span.close().end().line - line + 1,
            name: signature.ident.to_string(),
            line,
        });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_mod(&mut self, node: &'ast syn::ItemMod) {
        if !is_for_tests(&node.attrs) {
            visit::visit_item_mod(self, node);
        }
    }

    fn visit_item_impl(&mut self, node: &'ast syn::ItemImpl) {
        if !is_for_tests(&node.attrs) {
            visit::visit_item_impl(self, node);
        }
    }

    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        if !is_for_tests(&node.attrs) {
            self.add(&node.sig, &node.block);
            visit::visit_item_fn(self, node);
        }
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        if !is_for_tests(&node.attrs) {
            self.add(&node.sig, &node.block);
            visit::visit_impl_item_fn(self, node);
        }
    }

    fn visit_trait_item_fn(&mut self, node: &'ast syn::TraitItemFn) {
        if let Some(block) = &node.default {
            self.add(&node.sig, block);
        }
        visit::visit_trait_item_fn(self, node);
    }
}
