//! The plot: a line for each workload, size and number of threads, and on it a point for each peer.

use crate::results::{HASHBROWN, OURSELVES, Results, Row, Way, holds_guard};
use resumption_comparison::thousands;
use std::fmt::Write;

const LEFT: f64 = 330.0;
const WIDTH: f64 = 620.0;
const LINE: f64 = 22.0;
const TOP: f64 = 104.0;
/// The ratios at the left and the right edge.
const EDGES: (f64, f64) = (0.125, 64.0);
const COLOURS: [&str; 10] = [
    "#222222", "#d62728", "#ff7f0e", "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f",
    "#17a2b8",
];

fn x_of(ratio: f64) -> f64 {
    let share = (ratio / EDGES.0).ln() / (EDGES.1 / EDGES.0).ln();
    LEFT + WIDTH * share.clamp(0.0, 1.0)
}

/// Ratios of throughput on a logarithmic scale, as SVG. What is beyond an edge is drawn on it.
pub(crate) fn svg(results: &Results) -> String {
    let shown = |row: &&Row| {
        let way = if row.peer == HASHBROWN { Way::OneGuard } else { Way::EachPin };
        let only =
            results.rows.iter().all(|r| (r.workload, r.peer) != (row.workload, row.peer) || r.way == row.way);
        row.peer != OURSELVES && !holds_guard(row.peer) && (row.way == way || only)
    };
    let rows: Vec<&Row> = results.rows.iter().filter(shown).collect();
    let (mut lines, mut peers) = (Vec::new(), Vec::new());
    for row in &rows {
        let line = (row.workload, row.sessions, row.threads);
        if !lines.contains(&line) {
            lines.push(line);
        }
        if !peers.contains(&row.peer) {
            peers.push(row.peer);
        }
    }
    lines.sort_by_key(|(workload, sessions, threads)| (*workload as usize, *sessions, *threads));
    let height = TOP + LINE * lines.len() as f64 + 30.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{height}\" viewBox=\"0 0 {0} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"14\">Throughput of resumption over that of each peer; right of 1 resumption is \
         faster</text>\n",
        LEFT + WIDTH + 30.0
    );
    legend(&mut out, &peers);
    scale(&mut out, height);
    for (number, line) in lines.iter().enumerate() {
        let y = TOP + LINE * (number as f64 + 0.5);
        let (workload, sessions, threads) = line;
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}, {}, {threads} T</text>",
            LEFT - 12.0,
            y + 4.0,
            workload.name(),
            thousands(*sessions)
        );
        for row in rows.iter().filter(|row| (row.workload, row.sessions, row.threads) == *line) {
            let place = peers.iter().position(|peer| *peer == row.peer).unwrap_or(0);
            point(&mut out, row, y, COLOURS[place % COLOURS.len()]);
        }
    }
    out.push_str("</svg>\n");
    out
}

fn legend(out: &mut String, peers: &[&str]) {
    for (place, peer) in peers.iter().enumerate() {
        let (x, y) = (16.0 + 235.0 * (place % 4) as f64, 40.0 + 18.0 * (place / 4) as f64);
        let colour = COLOURS[place % COLOURS.len()];
        let _ = writeln!(
            out,
            "<circle cx=\"{x}\" cy=\"{y}\" r=\"5\" fill=\"{colour}\"/><text x=\"{}\" y=\"{}\">{peer}</text>",
            x + 9.0,
            y + 4.0
        );
    }
}

fn scale(out: &mut String, height: f64) {
    for ratio in [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0] {
        let (x, bottom) = (x_of(ratio), height - 24.0);
        let stroke = if ratio == 1.0 { "#000" } else { "#ddd" };
        let _ = writeln!(
            out,
            "<line x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"{stroke}\"/>\
             <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{ratio}</text>",
            height - 8.0
        );
    }
}

fn point(out: &mut String, row: &Row, y: f64, colour: &str) {
    let _ = writeln!(
        out,
        "<line x1=\"{}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"2\" opacity=\"0.5\"/>\
         <circle cx=\"{}\" cy=\"{y}\" r=\"4.5\" fill=\"{colour}\" opacity=\"0.85\"><title>{}: {}</title></circle>",
        x_of(row.ratio.low),
        x_of(row.ratio.high),
        x_of(row.ratio.median),
        row.peer,
        row.ratio
    );
}
