//! Reads the sources for the walls: every path that a file names, and whose name it is.
//!
//! It reads tokens, so what a macro's body says counts too, and follows every name to its home: through `use` trees, `self` and
//! `super`, renamings, and re-exports at any level.

use std::collections::{HashMap, HashSet};

use syn::buffer::{Cursor, TokenBuffer};

// ---- Whose name it is ----

/// The crate: its files, its modules, and what each module calls by another name.
pub struct House<'a> {
    pub files: Vec<File<'a>>,
    modules: HashSet<Vec<String>>,
    /// By full name (`[crate, Queue]`): what it stands for, and whether all the world may say so.
    pub names: HashMap<Vec<String>, (Vec<String>, bool)>,
    /// What a module imports with a star.
    stars: HashMap<Vec<String>, Vec<Vec<String>>>,
}

impl<'a> House<'a> {
    pub fn new(sources: &'a [(String, String)]) -> House<'a> {
        let files: Vec<File<'a>> = sources.iter().map(|(path, text)| File::read(path, text)).collect();
        let modules = files.iter().flat_map(|f| f.modules.iter().cloned()).collect();
        let mut house = House { files, modules, names: HashMap::new(), stars: HashMap::new() };
        for _ in 0..2 {
            house.learn_names(); // once more, for imports that begin with what another import made
        }
        house
    }

    fn learn_names(&mut self) {
        let (mut names, mut stars) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
        for (_, import) in self.references() {
            let target = self.home(import);
            match import.makes.as_deref() {
                Some("*") => stars.entry(import.module.clone()).or_default().push(target),
                Some(name) => {
                    let full = [import.module.as_slice(), &[name.to_owned()]].concat();
                    let target = if target.starts_with(&full) { import.path.clone() } else { target };
                    names.insert(full, (target, import.public));
                }
                None => {}
            }
        }
        (self.names, self.stars) = (names, stars);
    }

    pub fn references(&self) -> impl Iterator<Item = (&File<'a>, &Reference)> {
        self.files.iter().flat_map(|file| file.references.iter().map(move |r| (file, r)))
    }

    /// A path from the crate's root, or one into another crate.
    pub fn home(&self, reference: &Reference) -> Vec<String> {
        let (mut home, mut rest) = (reference.module.clone(), reference.path.as_slice());
        let child = [home.as_slice(), &rest[..1]].concat();
        match rest[0].as_str() {
            "crate" => rest.to_vec(),
            "self" | "super" => {
                while let Some((first, others)) =
                    rest.split_first().filter(|(f, _)| ["self", "super"].contains(&f.as_str()))
                {
                    if first == "super" {
                        home.pop();
                    }
                    rest = others;
                }
                [home.as_slice(), rest].concat()
            }
            _ if self.modules.contains(&child) || self.names.contains_key(&child) => {
                [home.as_slice(), rest].concat()
            }
            _ => rest.to_vec(),
        }
    }

    /// What a path stands for, step by step, until no name on it stands for anything else.
    pub fn stages(&self, reference: &Reference) -> Vec<Vec<String>> {
        let mut stages = vec![self.home(reference)];
        if stages[0] == reference.path && stages[0][0] != "crate" {
            let starred = self.stars.get(&reference.module).into_iter().flatten(); // it may come from there
            stages.extend(starred.map(|star| [star.as_slice(), &reference.path].concat()));
        }
        let mut next = 0;
        while next < stages.len() && stages.len() < 32 {
            let path = stages[next].clone();
            next += 1;
            for k in 1..=path.len() {
                let name = &path[..k];
                if let Some((target, _)) = self.names.get(name) {
                    stages.push([target.as_slice(), &path[k..]].concat());
                } else if k < path.len()
                    && !self.modules.contains(&path[..=k])
                    && !self.names.contains_key(&path[..=k])
                {
                    let starred = self.stars.get(name).into_iter().flatten();
                    stages.extend(starred.map(|star| [star.as_slice(), &path[k..]].concat()));
                }
            }
        }
        stages.dedup();
        stages
    }

    /// The file of a module, if it is one.
    pub fn file_of(&self, module: &[String]) -> Option<&File<'a>> {
        self.files.iter().find(|file| file.modules.iter().any(|m| m == module))
    }

    /// The rooms that a path leads through; the first is where it was aimed.
    pub fn rooms(&self, reference: &Reference) -> Vec<String> {
        let stages = self.stages(reference);
        let inside = stages.iter().filter(|stage| stage[0] == "crate");
        let mut met: Vec<String> = inside
            .filter_map(|stage| stage.get(..2).filter(|s| self.modules.contains(*s)))
            .map(|s| s[1].clone())
            .collect();
        met.dedup();
        if met.is_empty() && stages[0][0] == "crate" { vec!["lib".to_owned()] } else { met }
    }
}

// ---- What a file says ----

pub struct File<'a> {
    pub path: &'a str,
    pub text: &'a str,
    pub tokens: Vec<Token>,
    modules: Vec<Vec<String>>,
    references: Vec<Reference>,
}

/// A path in an expression, a type, an import or a macro's body.
pub struct Reference {
    pub line: usize,
    /// Where it stands.
    module: Vec<String>,
    pub path: Vec<String>,
    /// The name that an import gives it, or a star.
    pub makes: Option<String>,
    public: bool,
    /// The condition that it stands behind, if it is one that the walls know.
    pub gate: &'static str,
    /// Only tests have it.
    pub test: bool,
}

impl<'a> File<'a> {
    fn read(path: &'a str, text: &'a str) -> File<'a> {
        let parts = path.trim_start_matches("src/").trim_end_matches(".rs").split('/');
        let inner = parts.filter(|part| !["mod", "lib"].contains(part)).map(str::to_owned);
        let module: Vec<String> = std::iter::once("crate".to_owned()).chain(inner).collect();
        let mut file = File {
            path,
            text,
            tokens: lex(path, text),
            modules: vec![module.clone()],
            references: Vec::new(),
        };
        file.mark("test", |t| t.test = true);
        if path.ends_with("/tests.rs") {
            file.tokens.iter_mut().for_each(|t| t.test = true);
        }
        for gate in ["feature=\"rusqlite\"", "perdura_planted"] {
            file.mark(gate, |t| t.gate = gate);
        }
        file.scan(0, file.tokens.len(), &module);
        file
    }

    pub fn room(&self) -> &str {
        self.modules[0].get(1).map_or("lib", String::as_str)
    }

    pub fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|p| self.path == *p || (p.ends_with('/') && self.path.starts_with(p)))
    }

    fn text(&self, i: usize) -> &str {
        self.tokens.get(i).map_or("", |t| &t.text)
    }

    /// Marks the items behind `#[cfg(condition)]`.
    fn mark(&mut self, condition: &str, set: impl Fn(&mut Token)) {
        if self.text(0) == "#" && self.text(1) == "!" && self.text(2) == "[" {
            let attribute: String = (0..=self.tokens[2].close).map(|i| self.text(i)).collect();
            if attribute == format!("#![cfg({condition})]") {
                return self.tokens.iter_mut().for_each(set); // the whole file is behind it
            }
        }
        for start in 0..self.tokens.len() {
            if self.text(start) != "#" || self.text(start + 1) != "[" {
                continue;
            }
            let close = self.tokens[start + 1].close;
            let attribute: String = (start..=close).map(|i| self.text(i)).collect();
            if attribute == format!("#[cfg({condition})]")
                || attribute.starts_with(&format!("#[cfg(all({condition},"))
            {
                let end = self.end_of_item(close + 1);
                self.tokens[close..end].iter_mut().for_each(&set);
            }
        }
    }

    /// Where the item that begins here ends: with its block, its semicolon, or (a field) its comma.
    fn end_of_item(&self, start: usize) -> usize {
        let (mut i, mut angles) = (start, 0);
        loop {
            match self.text(i) {
                "" | ";" | ")" | "]" | "}" => return i,
                "," if angles == 0 => return i,
                "{" => return self.tokens[i].close + 1,
                "<" => angles += 1,
                ">" if !["-", "="].contains(&self.text(i - 1)) => angles -= 1,
                _ => {}
            }
            i = self.tokens[i].close + 1;
        }
    }

    fn scan(&mut self, from: usize, to: usize, module: &[String]) {
        let mut i = from;
        while i < to {
            i = match self.text(i) {
                "mod" if self.text(i + 2) == "{" => {
                    let (inner, close) =
                        ([module, &[self.text(i + 1).to_owned()]].concat(), self.tokens[i + 2].close);
                    self.modules.push(inner.clone());
                    self.scan(i + 3, close, &inner);
                    close
                }
                "pub" if self.text(i + 1) == "(" && self.text(i + 2) == "in" => self.tokens[i + 1].close, // who sees it
                "use" if self.text(i + 1) != "<" => {
                    let public = i > 0 && self.text(i - 1) == "pub";
                    self.import(i + 1, &[], module, public)
                }
                _ => self.path(i, module),
            }
            .max(i + 1);
        }
    }

    fn refer(&mut self, at: usize, module: &[String], path: &[String], makes: Option<&str>, public: bool) {
        let Token { line, gate, test, .. } = self.tokens[at];
        let (module, path, makes) = (module.to_vec(), path.to_vec(), makes.map(str::to_owned));
        if !path.is_empty() {
            self.references.push(Reference { line, module, path, makes, public, gate, test });
        }
    }

    /// One branch of a `use` tree; answers with where it ends.
    fn import(&mut self, mut i: usize, prefix: &[String], module: &[String], public: bool) -> usize {
        let mut path = prefix.to_vec();
        loop {
            match self.text(i) {
                "::" | "$" | "," => i += 1,
                "{" => {
                    let close = self.tokens[i].close;
                    i += 1;
                    while i < close {
                        i = self.import(i, &path, module, public).max(i + 1);
                    }
                    return close + 1;
                }
                "*" => {
                    self.refer(i, module, &path, Some("*"), public);
                    return i + 1;
                }
                word if is_word(word) => {
                    if word != "self" || path.is_empty() {
                        path.push(word.to_owned());
                    }
                    i += 1;
                    if self.text(i) == "::" {
                        continue;
                    }
                    let renamed = self.text(i) == "as";
                    let name =
                        if renamed { self.text(i + 1) } else { path.last().map_or("", String::as_str) }
                            .to_owned();
                    self.refer(i - 1, module, &path, Some(&name), public);
                    return i + 2 * usize::from(renamed);
                }
                _ => return i,
            }
        }
    }

    /// A path of two segments or more, in code or as an attribute's string; answers with where it ends.
    fn path(&mut self, start: usize, module: &[String]) -> usize {
        let mut path = Vec::new();
        let mut i = start;
        while is_word(self.text(i)) {
            path.push(self.text(i).to_owned());
            i += 1;
            if self.text(i) != "::" || !is_word(self.text(i + 1)) {
                break;
            }
            i += 1;
        }
        if let Some(text) = string_value(self.text(start)).filter(|t| t.starts_with("crate::")) {
            path = text.split("::").map(str::to_owned).collect();
        }
        if path.len() > 1 && (start == 0 || self.text(start - 1) != ".") {
            self.refer(start, module, &path, None, false);
        }
        i
    }
}

/// What a token says, if it is a string literal.
pub fn string_value(token: &str) -> Option<String> {
    match token.contains('"').then(|| syn::parse_str(token).ok())?? {
        syn::Lit::Str(s) => Some(s.value()),
        syn::Lit::CStr(s) => s.value().into_string().ok(),
        syn::Lit::ByteStr(s) => String::from_utf8(s.value()).ok(),
        _ => None,
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_') && !text.contains(['"', '\''])
}

// ---- Tokens and their lines ----

pub struct Token {
    pub text: String,
    pub line: usize,
    /// Where its bracket closes; itself if it opens none.
    close: usize,
    pub test: bool,
    /// The condition that it stands behind, if it is one that the walls know.
    pub gate: &'static str,
}

/// The tokens of a file, brackets included, docs and comments not.
fn lex(path: &str, text: &str) -> Vec<Token> {
    let stream = text.parse().unwrap_or_else(|e| panic!("{path}: {e}"));
    let mut lexer = Lexer { text, at: 0, line: 1, counted: 0, tokens: Vec::new() };
    lexer.stream(TokenBuffer::new2(stream).begin());
    lexer.tokens
}

/// Walks the tokens, which know no lines, along the text, which does.
struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    /// Up to where `line` is counted.
    counted: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn stream(&mut self, mut cursor: Cursor) {
        while !cursor.eof() {
            self.skip_blank();
            if is_doc(self.rest()) {
                self.skip_comment();
                while let Some((_, after)) = cursor.punct() {
                    cursor = after; // the # and ! of the attribute that stands for the comment
                }
                cursor = cursor.any_group().expect("a doc attribute").3;
            } else if let Some((inside, _, _, after)) = cursor.any_group() {
                let open = self.take(1);
                self.stream(inside);
                self.skip_blank();
                self.tokens[open].close = self.take(1);
                cursor = after;
            } else {
                let (tree, after) = cursor.token_tree().expect("not at the end");
                let word = tree.to_string();
                assert!(self.rest().starts_with(&word), "lost at byte {}: no {word}", self.at);
                self.take(word.len());
                cursor = after;
            }
        }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn take(&mut self, len: usize) -> usize {
        self.line += self.text[self.counted..self.at].matches('\n').count();
        self.counted = self.at;
        let line = self.line;
        let text = self.text[self.at..self.at + len].to_owned();
        let joins = text == ":" && self.at > 0 && self.text[..self.at].ends_with(':');
        self.at += len;
        if joins {
            self.tokens.last_mut().expect("the first colon").text.push(':');
        } else {
            let close = self.tokens.len();
            self.tokens.push(Token { text, line, close, test: false, gate: "" });
        }
        self.tokens.len() - 1
    }

    fn skip_blank(&mut self) {
        loop {
            self.at += self.rest().len() - self.rest().trim_start().len();
            if is_doc(self.rest()) || !(self.rest().starts_with("//") || self.rest().starts_with("/*")) {
                return;
            }
            self.skip_comment();
        }
    }

    fn skip_comment(&mut self) {
        if self.rest().starts_with("//") {
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
            return;
        }
        let mut depth = 0;
        loop {
            let step = match self.rest() {
                rest if rest.starts_with("/*") => 1,
                rest if rest.starts_with("*/") => -1,
                _ => 0,
            };
            depth += step;
            self.at +=
                if step == 0 { self.rest().chars().next().expect("comments end").len_utf8() } else { 2 };
            if depth == 0 {
                return;
            }
        }
    }
}

fn is_doc(rest: &str) -> bool {
    let line = rest.starts_with("//!") || (rest.starts_with("///") && !rest.starts_with("////"));
    let block = rest.starts_with("/*!")
        || (rest.starts_with("/**") && !rest.starts_with("/***") && !rest.starts_with("/**/"));
    line || block
}
