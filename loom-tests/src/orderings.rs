//! The memory orderings in the source, and the rows about them in docs/orderings.md.

use resumption::model::{Half, Weakened};
use std::fmt;
use std::path::Path;

/// An ordering stronger than relaxed, in code that ships.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The file, below `src`.
    pub file: String,
    /// The function, and which of its orderings this is, from 1.
    pub step: (String, usize),
    /// Its name.
    pub ordering: String,
    /// The function that is called with it: `load`, `fence` and so on.
    pub callee: String,
    /// Line and column of its name, from 1.
    pub at: (u32, u32),
    /// 0, or 1 for the ordering of a failed compare-and-swap.
    pub argument: usize,
}

/// What a row says about one half of an ordering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needed {
    /// The ordering has no such half.
    NotThere,
    /// This model fails without it.
    By(String),
    /// No model fails, for this reason.
    Because(String),
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// As in [`Site`].
    pub file: String,
    /// As in [`Site`].
    pub step: (String, usize),
    /// As in [`Site`].
    pub ordering: String,
    /// What it pairs with.
    pub partner: String,
    /// Without its Acquire half; of a sequentially consistent fence, without its place in the order of all.
    pub acquire: Needed,
    /// Without its Release half.
    pub release: Needed,
}

impl Site {
    /// The halves that can be taken from it.
    pub fn halves(&self) -> &'static [Half] {
        match (self.ordering.as_str(), self.callee.as_str()) {
            ("SeqCst", "fence") => &[Half::Total],
            ("Acquire", _) | ("SeqCst", "load") => &[Half::Acquire],
            ("Release", _) | ("SeqCst", "store") => &[Half::Release],
            _ if self.argument == 1 => &[Half::Acquire],
            _ => &[Half::Acquire, Half::Release],
        }
    }

    /// This ordering without one half.
    pub fn without(&self, half: Half) -> Weakened {
        let is_one = self.ordering == "SeqCst" && half != Half::Total && self.halves().len() == 1;
        let half = if is_one { Half::Only } else { half };
        Weakened { file: format!("src/{}", self.file), at: self.at, argument: self.argument, half }
    }
}

impl Row {
    /// What the row says about a half.
    pub fn needed(&self, half: Half) -> &Needed {
        if half == Half::Release { &self.release } else { &self.acquire }
    }

    fn parse(line: &str) -> Option<Self> {
        let cells: Vec<&str> =
            line.trim().strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        let &[file, step, ordering, partner, acquire, release] = &cells[..] else { return None };
        let (function, number) = step.rsplit_once(' ')?;
        let needed = |cell: &str| match cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')) {
            Some(model) => Needed::By(model.to_owned()),
            None if cell == "–" => Needed::NotThere,
            None => Needed::Because(cell.to_owned()),
        };
        Some(Self {
            file: file.to_owned(),
            step: (function.trim_matches('`').to_owned(), number.parse().ok()?),
            ordering: ordering.to_owned(),
            partner: partner.to_owned(),
            acquire: needed(acquire),
            release: needed(release),
        })
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, step: (function, number), ordering, at: (line, _), .. } = self;
        write!(f, "{ordering} in {file}, `{function}` {number} (line {line})")
    }
}

/// The rows of a document.
pub fn rows(document: &str) -> Vec<Row> {
    document.lines().filter_map(Row::parse).collect()
}

/// What rows and code do not agree on.
pub fn disagreements(sites: &[Site], rows: &[Row]) -> Vec<String> {
    let same = |site: &Site, row: &Row| site.file == row.file && site.step == row.step;
    let mut found = Vec::new();
    for site in sites {
        match rows.iter().filter(|row| same(site, row)).collect::<Vec<_>>()[..] {
            [] => found.push(format!("no row for {site}")),
            [row] if row.ordering != site.ordering => {
                found.push(format!("the row says {}: {site}", row.ordering))
            }
            [row] => {
                for half in [Half::Acquire, Half::Release] {
                    let is_there = site
                        .halves()
                        .iter()
                        .any(|there| (*there == Half::Release) == (half == Half::Release));
                    if is_there == (*row.needed(half) == Needed::NotThere) {
                        found.push(format!("the row must say what is without {half:?}, or –: {site}"));
                    }
                }
            }
            _ => found.push(format!("more than one row for {site}")),
        }
    }
    let without_site = rows.iter().filter(|row| !sites.iter().any(|site| same(site, row)));
    found.extend(without_site.map(|row| format!("no such ordering: {} {:?}", row.file, row.step)));
    found.extend(
        rows.iter().filter(|row| row.partner.len() < 4).map(|row| format!("no partner: {:?}", row.step)),
    );
    found
}

/// The sites of all files below `src`, but of the facade itself and of what is compiled for tests only.
pub fn sites(src: &Path) -> std::io::Result<Vec<Site>> {
    let mut files = Vec::new();
    collect(src, &mut files)?;
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let name = file.strip_prefix(src).unwrap_or(&file).to_string_lossy().into_owned();
        let is_model =
            ["model.rs", "tests.rs", "properties.rs", "fuzzing.rs"].iter().any(|end| name.ends_with(end));
        if !is_model && !name.starts_with("sync/") {
            found.extend(sites_in(&name, &std::fs::read_to_string(&file)?));
        }
    }
    Ok(found)
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The sites of one file.
pub fn sites_in(file: &str, source: &str) -> Vec<Site> {
    const NAME: &str = "Ordering::";
    let code: Vec<char> = shipped(source);
    let text: String = code.iter().collect::<String>().replace(|c: char| !c.is_ascii(), " ");
    let mut sites: Vec<Site> = Vec::new();
    for (start, _) in text.match_indices(NAME) {
        let ordering: String =
            text[start + NAME.len()..].chars().take_while(char::is_ascii_alphanumeric).collect();
        if !["Acquire", "Release", "AcqRel", "SeqCst"].contains(&ordering.as_str()) {
            continue;
        }
        let Some(open) = open_parenthesis(&text[..start]) else { continue };
        let callee =
            text[..open].rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        let line = text[..callee].matches('\n').count();
        let column = callee - text[..callee].rfind('\n').map_or(0, |at| at + 1);
        let function = function_around(&text[..start]);
        let before = sites.iter().filter(|site| site.step.0 == function).count();
        sites.push(Site {
            file: file.to_owned(),
            step: (function, before + 1),
            ordering,
            callee: text[callee..open].to_owned(),
            at: (line as u32 + 1, column as u32 + 1),
            argument: text[open..start].matches(NAME).count(),
        });
    }
    sites
}

/// Where the parenthesis is that is open at the end of `text`.
fn open_parenthesis(text: &str) -> Option<usize> {
    let mut depth = 0;
    text.char_indices().rev().find_map(|(at, c)| {
        depth += i32::from(c == ')') - i32::from(c == '(');
        (depth < 0).then_some(at)
    })
}

/// The function whose text has begun last.
fn function_around(text: &str) -> String {
    let name = text.rfind("fn ").map_or("", |at| &text[at + 3..]);
    name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// The code that ships, everything else blank: comments, strings, what is compiled for tests and models only, and what
/// runs only when a rule is broken.
fn shipped(source: &str) -> Vec<char> {
    let mut code = without_comments(source);
    for start in ["#[cfg(test)]", "#[cfg(resumption_loom)]", "#[cfg(all(fuzzing", "if is_broken("] {
        loop {
            let text: String = code.iter().map(|c| if c.is_ascii() { *c } else { ' ' }).collect();
            let Some(from) = text.find(start) else { break };
            let end = end_of_item(&code, from + start.len());
            code[from..end].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
        }
    }
    code
}

/// The end of the item or block whose text goes on at `from`.
fn end_of_item(code: &[char], from: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code.iter().enumerate().skip(from) {
        depth += i32::from(*c == '{') - i32::from(*c == '}');
        if depth == 0 && matches!(c, '}' | ';') {
            return at + 1;
        }
    }
    code.len()
}

fn without_comments(source: &str) -> Vec<char> {
    let mut code: Vec<char> = source.chars().collect();
    let mut at = 0;
    while at < code.len() {
        let end = match (code[at], code.get(at + 1)) {
            ('/', Some('/')) => (at..code.len()).find(|end| code[*end] == '\n').unwrap_or(code.len()),
            ('"', _) => {
                let mut end = at + 1;
                while end < code.len() && code[end] != '"' {
                    end += 1 + usize::from(code[end] == '\\');
                }
                end + 1
            }
            ('\'', Some('\\')) => at + 4,
            ('\'', _) if code.get(at + 2) == Some(&'\'') => at + 3,
            _ => {
                at += 1;
                continue;
            }
        };
        let end = end.min(code.len());
        code[at..end].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
        at = end;
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
//! Ordering::SeqCst in a comment
fn find(x: &A) {
    let a = "Ordering::SeqCst"; x.y.load(Ordering::Acquire);
    if is_broken(Rule::One) { x.store(1, Ordering::Release); }
    x.compare_exchange(f(1), 2,
        Ordering::AcqRel, Ordering::Acquire);
    x.load(Ordering::Relaxed);
}
#[cfg(resumption_loom)]
fn model() { x.load(Ordering::Acquire); }
fn other() { fence(Ordering::SeqCst); x.load(Ordering::SeqCst); }
#[cfg(test)]
mod tests { fn t() { x.load(Ordering::SeqCst); } }
"#;

    const ROWS: &str = "
| file | step | ordering | partner | without Acquire | without Release |
|---|---|---|---|---|---|
| a.rs | `find` 1 | Acquire | the swap in `put` | `one` | – |
| a.rs | `find` 2 | AcqRel | the load in `find` | `one` | nothing to publish |
| a.rs | `find` 3 | Acquire | the load in `find` | `one` | – |
| a.rs | `other` 1 | SeqCst | itself | `two` | – |
| a.rs | `other` 2 | SeqCst | the fence in `other` | `two` | – |
";

    #[test]
    fn sites_are_found_where_they_are_called() {
        let found = sites_in("a.rs", SOURCE);
        let brief: Vec<_> = found
            .iter()
            .map(|site| (site.step.0.as_str(), site.step.1, &*site.ordering, site.at, site.argument))
            .collect();
        assert_eq!(
            brief,
            [
                ("find", 1, "Acquire", (4, 37), 0),
                ("find", 2, "AcqRel", (6, 7), 0),
                ("find", 3, "Acquire", (6, 7), 1),
                ("other", 1, "SeqCst", (12, 14), 0),
                ("other", 2, "SeqCst", (12, 41), 0),
            ]
        );
        let lost: Vec<_> =
            found.iter().flat_map(|site| site.halves().iter().map(|half| site.without(*half).half)).collect();
        assert_eq!(
            lost,
            [Half::Acquire, Half::Acquire, Half::Release, Half::Acquire, Half::Total, Half::Only]
        );
    }

    #[test]
    fn rows_that_agree() {
        assert_eq!(disagreements(&sites_in("a.rs", SOURCE), &rows(ROWS)), Vec::<String>::new());
    }

    #[test]
    fn whatever_does_not_agree_is_found() {
        let planted = [
            ("| a.rs | `find` 1 | Acquire | the swap in `put` | `one` | – |\n", "", "no row for Acquire"),
            ("`other` 2", "`other` 3", "no such ordering"),
            ("| SeqCst | itself", "| AcqRel | itself", "the row says AcqRel"),
            ("| nothing to publish |", "| – |", "without Release"),
            ("| itself |", "| |", "no partner"),
            ("`find` 3", "`find` 1", "more than one row"),
        ];
        for (old, new, complaint) in planted {
            let changed = ROWS.replace(old, new);
            assert_ne!(changed, ROWS);
            let found = disagreements(&sites_in("a.rs", SOURCE), &rows(&changed));
            assert!(found.iter().any(|found| found.contains(complaint)), "{complaint}: {found:?}");
        }
    }
}
