//! Memory that this process may still take: what the machine has free, and what its control groups leave of it.
//!
//! A container's limit is the control group's, which `/proc/meminfo` does not know. Both versions of control groups are
//! read, with all the groups above: any of them may hold the limit.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that are free for this process, where the system tells.
#[must_use]
pub fn available_memory() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| meminfo(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = left_of_groups(&groups, Path::new("/sys/fs/cgroup"));
    machine.into_iter().chain(limit).min()
}

/// The most memory that this process had at once.
#[must_use]
pub fn peak_memory() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Memory that this process has now.
pub(crate) fn resident_memory() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

fn meminfo(text: &str) -> Option<u64> {
    kilobytes(text, "MemAvailable:")
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The least that the limits of a process's groups leave. `groups` is `/proc/self/cgroup`.
fn left_of_groups(groups: &str, root: &Path) -> Option<u64> {
    let mut least = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (base, names) = match controllers {
            "" => (root.to_owned(), ("memory.max", "memory.current", "inactive_file")),
            _ if controllers.split(',').any(|name| name == "memory") => {
                let names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");
                (root.join("memory"), names)
            }
            _ => continue,
        };
        for group in lineage(&base, path) {
            least = least.into_iter().chain(left(&group, names)).min();
        }
    }
    least
}

/// A group's folder and those above it. In a container the path may be that outside, and the root the group itself.
fn lineage(base: &Path, path: &str) -> Vec<PathBuf> {
    let below = Path::new(path.trim_start_matches('/'));
    below.ancestors().map(|part| base.join(part)).collect()
}

/// What is left of one group: its limit less what is used, not counting pages of files that can be dropped.
fn left(group: &Path, (limit, usage, droppable): (&str, &str, &str)) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    let (limit, used) = (number(limit)?, number(usage)?);
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let file = stat.lines().find_map(|line| line.strip_prefix(droppable)?.trim().parse::<u64>().ok());
    Some(limit.saturating_sub(used.saturating_sub(file.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(root: &Path, path: &str, files: &[(&str, &str)]) {
        let folder = root.join(path);
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn limits_of_control_groups_count_in_both_versions() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        group(root, "", &[("memory.max", "max\n"), ("memory.current", "5")]);
        assert_eq!(left_of_groups("0::/a/b\n", root), None);
        group(
            root,
            "a",
            &[("memory.max", "1000\n"), ("memory.current", "700\n"), ("memory.stat", "anon 1\ninactive_file 200\n")],
        );
        group(root, "a/b", &[("memory.max", "900\n"), ("memory.current", "100\n")]);
        // The group above is the tighter one: 1000 - (700 - 200).
        assert_eq!(left_of_groups("0::/a/b\n", root), Some(500));
        let first = [
            ("memory.limit_in_bytes", "400"),
            ("memory.usage_in_bytes", "100"),
            ("memory.stat", "total_inactive_file 50"),
        ];
        group(root, "memory", &first);
        assert_eq!(left_of_groups("4:cpu:/\n3:memory:/outside/of/the/container\n0::/a/b\n", root), Some(350));
        // More in use than allowed is nothing left, not a wrap around.
        group(root, "memory", &[("memory.usage_in_bytes", "9999")]);
        assert_eq!(left_of_groups("3:memory:/\n", root), Some(0));
    }

    #[test]
    fn kilobytes_are_read() {
        assert_eq!(meminfo("MemTotal: 9 kB\nMemAvailable:   22518936 kB\n"), Some(22_518_936 * 1024));
        assert_eq!(meminfo("MemTotal: 9 kB\n"), None);
        #[cfg(target_os = "linux")]
        assert!(available_memory().unwrap() > 1 << 20 && peak_memory().unwrap() > 1 << 20);
    }
}
