//! Files and functions stay small enough to read at once.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::source::{Source, report, rust};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn no_file_is_too_long() {
    let long = |s: &Source| s.text.lines().count() > FILE_LINES_MAX;
    report(
        "longer than 600 lines: split it by what it decides",
        rust()
            .iter()
            .filter(|s| long(s))
            .map(|s| format!("{} ({})", s.path, s.text.lines().count()))
            .collect(),
    );
}

#[test]
fn every_file_says_what_it_decides() {
    let silent = |s: &&Source| !s.text.starts_with("//!");
    report("files without a //! head", rust().iter().filter(silent).map(|s| s.path.clone()).collect());
}

#[test]
fn no_function_is_too_long() {
    let mut found = Vec::new();
    for source in rust().iter().filter(|s| !s.is_test()) {
        let file = syn::parse_file(&source.text).expect("rustc parses it too");
        Lengths { path: &source.path, found: &mut found }.visit_file(&file);
    }
    report("functions longer than 70 lines", found);
}

struct Lengths<'a> {
    path: &'a str,
    found: &'a mut Vec<String>,
}

impl Lengths<'_> {
    fn check(&mut self, name: &syn::Ident, block: &syn::Block) {
        let span = block.span();
        let lines = span.end().line - span.start().line + 1;
        if lines > FUNCTION_LINES_MAX {
            self.found.push(format!("{}:{} {name} ({lines})", self.path, span.start().line));
        }
    }
}

impl<'ast> Visit<'ast> for Lengths<'_> {
    fn visit_item_fn(&mut self, f: &'ast syn::ItemFn) {
        self.check(&f.sig.ident, &f.block);
        visit::visit_item_fn(self, f);
    }

    fn visit_impl_item_fn(&mut self, f: &'ast syn::ImplItemFn) {
        self.check(&f.sig.ident, &f.block);
        visit::visit_impl_item_fn(self, f);
    }
}
