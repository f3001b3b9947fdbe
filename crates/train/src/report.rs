//! A page about a run, beside it: `report.html`, complete in itself, with nothing to run.
//!
//! It is made from what is in the folder (`metrics.jsonl`, `plan.json`, `recipe.toml`), so it can be made again at any
//! time, also of a run that was killed. Headings are in both languages.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::TrainError;

/// Points of a line; more are thinned out.
const POINTS: usize = 600;
/// Size of a chart.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
/// What is left of it on the left and below, for numbers.
const LEFT: f64 = 64.0;
const BELOW: f64 = 24.0;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}\
h1{font-size:1.4rem}h2{font-size:1.05rem;margin:2rem 0 .3rem}svg{width:100%;height:auto}text{font:11px system-ui,sans-serif;fill:#5b6675}\
.grid{stroke:#d9dee5}.a{stroke:#0b6bcb;fill:none;stroke-width:1.5}.b{stroke:#c2410c;fill:none;stroke-width:1.5}.bar{fill:#0b6bcb}.bar2{fill:#c2410c}\
table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left;font-variant-numeric:tabular-nums}pre{overflow:auto;background:#f4f6f8;padding:.8rem}\
@media(prefers-color-scheme:dark){body{color:#e6e9ee;background:#14181d}text{fill:#9aa5b4}.grid{stroke:#2c333c}.a{stroke:#6cb2ff}.b{stroke:#ff9d66}.bar{fill:#6cb2ff}.bar2{fill:#ff9d66}pre{background:#1d232b}}";

/// Kinds of memory in the plan, in the order of the bar, in both languages.
const KINDS: [(&str, &str); 9] = [
    ("weights", "weights · 가중치"),
    ("frozen", "frozen weights · 고정된 가중치"),
    ("gradients", "gradients · 기울기"),
    ("optimizer", "optimizer · 최적화기"),
    ("activations", "activations · 활성값"),
    ("logits", "logits · 로짓"),
    ("working", "working memory · 작업 공간"),
    ("texts", "texts · 글"),
    ("program", "program · 프로그램"),
];

/// Writes the page, all of it or none.
///
/// # Errors
/// Where the folder is not readable or not writable.
pub fn write_report(folder: &Path) -> Result<(), TrainError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| TrainError::Io { path, source }
    };
    let (path, part) = (folder.join("report.html"), folder.join("report.html.part"));
    let metrics = folder.join("metrics.jsonl");
    let metrics = fs::read_to_string(&metrics).map_err(io(&metrics))?;
    let lines: Vec<Value> = metrics.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let plan = fs::read_to_string(folder.join("plan.json")).unwrap_or_default();
    let plan = serde_json::from_str(&plan).unwrap_or(Value::Null);
    let recipe = fs::read_to_string(folder.join("recipe.toml")).unwrap_or_default();
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    fs::write(&part, page(&name, &lines, &plan, &recipe)).map_err(io(&part))?;
    fs::rename(&part, &path).map_err(io(&path))
}

fn page(name: &str, lines: &[Value], plan: &Value, recipe: &str) -> String {
    let series = |field: &str| -> Vec<(f64, f64)> {
        let point = |line: &Value| Some((line.get("step")?.as_f64()?, line.get(field)?.as_f64()?));
        lines.iter().filter_map(point).collect()
    };
    let mut out = String::new();
    let title = escaped(name);
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    let (loss, measured) = (series("loss"), series("validation_loss"));
    summary(&mut out, &loss, &measured, lines);
    chart(&mut out, "Loss · 손실", &[("loss · 손실", &loss), ("held out · 검증", &measured)]);
    let accuracy = series("validation_accuracy");
    chart(&mut out, "Accuracy · 정확도", &[("held out · 검증", &accuracy)]);
    chart(&mut out, "Learning rate · 학습률", &[("", &series("learning_rate"))]);
    chart(&mut out, "Length of the gradient · 기울기의 크기", &[("", &series("gradient_norm"))]);
    chart(&mut out, "Tokens a second · 초당 토큰", &[("", &series("tokens_per_second"))]);
    samples(&mut out, lines);
    memory(&mut out, plan, series("memory").last().map(|(_, bytes)| *bytes));
    if !recipe.is_empty() {
        let _ = write!(out, "<h2>Recipe · 레시피</h2>\n<pre>{}</pre>\n", escaped(recipe));
    }
    out += "</body></html>\n";
    out
}

fn summary(out: &mut String, loss: &[(f64, f64)], measured: &[(f64, f64)], lines: &[Value]) {
    let tokens = lines.iter().rev().find_map(|line| line.get("tokens")?.as_f64());
    let rows = [
        ("steps · 단계", loss.last().map(|(step, _)| *step)),
        ("tokens · 토큰", tokens),
        ("first loss · 처음 손실", loss.first().map(|(_, loss)| *loss)),
        ("last loss · 마지막 손실", loss.last().map(|(_, loss)| *loss)),
        ("last held-out loss · 마지막 검증 손실", measured.last().map(|(_, loss)| *loss)),
    ];
    *out += "<table>\n";
    for (name, value) in rows {
        if let Some(value) = value {
            let _ = writeln!(out, "<tr><th scope=\"row\">{name}</th><td>{}</td></tr>", number(value));
        }
    }
    *out += "</table>\n";
}

/// What the model wrote when it was looked at first and last.
fn samples(out: &mut String, lines: &[Value]) {
    let mut taken = lines.iter().filter(|line| line.get("samples").is_some());
    let (Some(first), last) = (taken.next(), taken.next_back()) else { return };
    *out += "<h2>What it writes · 모델이 쓰는 글</h2>\n<table>\n<tr><th>step · 단계</th><th>beginning · 앞부분</th>\
             <th>written · 쓴 글</th><th>in the text · 원문</th></tr>\n";
    for line in std::iter::once(first).chain(last) {
        let step = line.get("step").and_then(Value::as_u64).unwrap_or(0);
        for sample in line.get("samples").and_then(Value::as_array).into_iter().flatten() {
            let of = |field: &str| escaped(sample.get(field).and_then(Value::as_str).unwrap_or_default());
            let (prompt, text, expected) = (of("prompt"), of("text"), of("expected"));
            let _ = writeln!(out, "<tr><td>{step}</td><td>{prompt}</td><td>{text}</td><td>{expected}</td></tr>");
        }
    }
    *out += "</table>\n";
}

/// A chart of up to two lines over steps; nothing where there is nothing to show.
fn chart(out: &mut String, title: &str, series: &[(&str, &[(f64, f64)])]) {
    let points = || series.iter().flat_map(|(_, points)| points.iter()).filter(|(_, y)| y.is_finite());
    let bounds = |value: &dyn Fn(&(f64, f64)) -> f64| {
        points().map(value).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
    };
    let ((first, last), (low, high)) = (bounds(&|point| point.0), bounds(&|point| point.1));
    if first > last {
        return;
    }
    let ticks = ticks(low, high);
    let (low, high) = (ticks.first().copied().unwrap_or(low), ticks.last().copied().unwrap_or(high));
    let x = |step: f64| LEFT + (WIDTH - LEFT - 8.0) * (step - first) / (last - first).max(1e-9);
    let y = |value: f64| 8.0 + (HEIGHT - BELOW - 8.0) * (high - value) / (high - low).max(1e-300);
    let _ = write!(
        out,
        "<h2>{title}</h2>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}: {} – {}\">\n",
        number(low),
        number(high)
    );
    for tick in &ticks {
        let at = y(*tick);
        let (right, text) = (WIDTH - 8.0, at + 4.0);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{}\" y=\"{text:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            number(*tick)
        );
    }
    for (step, anchor) in [(first, "start"), (last, "end")] {
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            x(step),
            HEIGHT - 6.0,
            number(step)
        );
    }
    for (index, (label, points)) in series.iter().enumerate() {
        let class = if index == 0 { "a" } else { "b" };
        let thinned = thinned(points);
        let path: Vec<String> =
            thinned.iter().map(|(step, value)| format!("{:.1},{:.1}", x(*step), y(*value))).collect();
        let _ = writeln!(out, "<polyline class=\"{class}\" points=\"{}\"/>", path.join(" "));
        if let (Some((step, value)), false) = (thinned.last(), label.is_empty()) {
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label} {}</text>",
                x(*step),
                (y(*value) - 6.0).max(12.0),
                number(*value)
            );
        }
    }
    *out += "</svg>\n";
}

/// Of as many points as fit side by side, the mean of each; numbers that are none are left out.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let points: Vec<(f64, f64)> = points.iter().copied().filter(|(_, value)| value.is_finite()).collect();
    let each = points.len().div_ceil(POINTS).max(1);
    points
        .chunks(each)
        .map(|chunk| {
            let sum = chunk.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
            (sum.0 / chunk.len() as f64, sum.1 / chunk.len() as f64)
        })
        .collect()
}

/// Round numbers around a range, three to seven.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let range = if high > low { high - low } else { high.abs().max(1e-12) };
    let rough = range / 4.0;
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
    (first..=last.max(first + 1)).map(|index| index as f64 * step).collect()
}

/// Memory as planned, by kind, and as it was.
fn memory(out: &mut String, plan: &Value, peak: Option<f64>) {
    let bytes = |kind: &str| plan.get(kind).and_then(Value::as_f64).unwrap_or(0.0);
    let kinds: Vec<(&str, f64)> =
        KINDS.iter().map(|(kind, name)| (*name, bytes(kind))).filter(|(_, bytes)| *bytes > 0.0).collect();
    let total: f64 = kinds.iter().map(|(_, bytes)| bytes).sum();
    if total == 0.0 {
        return;
    }
    *out += "<h2>Memory · 메모리</h2>\n<table>\n";
    let most = kinds.iter().map(|(_, bytes)| *bytes).fold(peak.unwrap_or(0.0).max(total), f64::max);
    let mut row = |name: &str, bytes: f64, class: &str| {
        let width = 220.0 * bytes / most;
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{name}</th><td>{}</td><td><svg viewBox=\"0 0 220 12\" style=\"width:220px\" aria-hidden=\"true\">\
             <rect class=\"{class}\" width=\"{width:.1}\" height=\"12\"/></svg></td></tr>",
            size(bytes)
        );
    };
    for (name, bytes) in &kinds {
        row(name, *bytes, "bar");
    }
    row("plan · 계획", total, "bar");
    if let Some(peak) = peak {
        row("peak · 실제 최고", peak, "bar2");
    }
    *out += "</table>\n";
}

fn size(bytes: f64) -> String {
    match bytes {
        1e9.. => format!("{:.2} GB", bytes / 1e9),
        1e6.. => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.0} kB", bytes / 1e3),
    }
}

/// A number with four digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        1e15.. => format!("{value:.2e}"),
        1000.0.. => {
            let digits = format!("{value:.0}");
            let mut out = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0
                    && digit.is_ascii_digit()
                    && (digits.len() - index).is_multiple_of(3)
                    && !out.ends_with('-')
                {
                    out.push(',');
                }
                out.push(digit);
            }
            out
        }
        0.001.. => {
            let digits = (3 - value.abs().log10().floor() as i32).clamp(0, 6) as usize;
            let text = format!("{value:.digits$}");
            if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
        }
        _ => format!("{value:.2e}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_the_run_did() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert!(write_report(path).is_err());
        let mut lines = String::new();
        for step in 1..=1500 {
            let loss = 2.0 + 8.0 / f64::from(step);
            let _ = writeln!(
                lines,
                "{{\"step\":{step},\"loss\":{loss},\"learning_rate\":0.001,\"tokens\":{step}00,\"memory\":330000000}}"
            );
        }
        lines += "{\"step\":1501,\"validation_loss\":2.25}\n{\"step\":15";
        fs::write(path.join("metrics.jsonl"), lines).unwrap();
        fs::write(path.join("plan.json"), r#"{"parameters": 1, "weights": 200000000, "activations": 125000000}"#)
            .unwrap();
        fs::write(path.join("recipe.toml"), "text = \"<script>\"").unwrap();
        write_report(path).unwrap();
        let page = fs::read_to_string(path.join("report.html")).unwrap();
        for expected in ["1,500", "2.25", "325.0 MB", "330.0 MB", "&lt;script&gt;", "polyline", "Loss · 손실"] {
            assert!(page.contains(expected), "{expected}");
        }
        assert!(!page.contains("<script") && !page.contains("http"), "complete in itself");
        // No accuracy was measured.
        assert!(!page.contains("정확도") && !path.join("report.html.part").exists());
        let points = page.split("points=\"").nth(1).unwrap().split('"').next().unwrap().split(' ').count();
        assert_eq!(points, 500);
    }

    #[test]
    fn numbers_and_ticks_are_round() {
        for (value, text) in [
            (0.0, "0"),
            (2.0, "2"),
            (2.25, "2.25"),
            (1234567.0, "1,234,567"),
            (-1234.0, "-1,234"),
            (-123456.0, "-123,456"),
            (3e-4, "3.00e-4"),
            (0.0123456, "0.01235"),
            (999.96, "1000"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(ticks(2.0, 10.0), [2.0, 4.0, 6.0, 8.0, 10.0]);
        assert!(ticks(0.001, 0.001).len() >= 2);
        assert!(ticks(-1.0, 1.0).len() >= 3);
    }
}
