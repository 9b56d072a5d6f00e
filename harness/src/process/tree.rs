//! The processes below another one, from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::io;

use nix::unistd::Pid;

/// Every process below `root` that is not a zombie.
pub(super) fn living_descendants(root: Pid) -> io::Result<Vec<Pid>> {
    let mut children: HashMap<i32, Vec<(i32, bool)>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // A process may end between the listing and the reading.
        let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else { continue };
        if let Some((state, parent)) = state_and_parent(&String::from_utf8_lossy(&stat)) {
            children.entry(parent).or_default().push((pid, matches!(state, 'Z' | 'X')));
        }
    }
    let mut found = Vec::new();
    let mut queue = vec![root.as_raw()];
    while let Some(parent) = queue.pop() {
        for (pid, dead) in children.remove(&parent).unwrap_or_default() {
            queue.push(pid);
            if !dead {
                found.push(Pid::from_raw(pid));
            }
        }
    }
    Ok(found)
}

/// State and parent from a line of `/proc/PID/stat` (proc_pid_stat(5)); the name in brackets may hold anything.
fn state_and_parent(stat: &str) -> Option<(char, i32)> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_confuse_the_stat_line() {
        assert_eq!(state_and_parent("12 (a) b (c)) S 7 12 12 0"), Some(('S', 7)));
        assert_eq!(state_and_parent("12 (x) Z 1 1"), Some(('Z', 1)));
        assert_eq!(state_and_parent("nonsense"), None);
    }
}
