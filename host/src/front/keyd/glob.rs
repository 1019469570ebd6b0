//! Patterns of ids as the peer has them: `*` stands for any characters, slashes too, `?` for one,
//! everything else for itself.

use daemon::rules::KeyTest;

use wire::keyd::id_of;

pub(crate) use wire::keyd::PATTERN_MAX_CHARS as GLOB_MAX_CHARS;

/// The keys that a principal may use.
#[derive(Debug)]
pub(crate) struct Globs(pub(crate) Vec<String>);

impl KeyTest for Globs {
    fn matches(&self, key: &str) -> bool {
        id_of(key).is_some_and(|(_, id)| self.0.iter().any(|glob| matches(glob, &id)))
    }
}

/// Walks both once; on a mismatch the last `*` takes one character more.
pub(super) fn matches(glob: &str, id: &str) -> bool {
    let (mut glob, mut id) = (glob.chars(), id.chars());
    let mut last_star: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (mut ahead, mut rest) = (glob.clone(), id.clone());
        match (ahead.next(), rest.next()) {
            (Some('*'), _) => {
                glob = ahead;
                last_star = Some((glob.clone(), id.clone()));
                continue;
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                (glob, id) = (ahead, rest);
                continue;
            }
            (None, None) => return true,
            (Some(_) | None, _) => {}
        }
        let Some((after_star, from)) = &mut last_star else { return false };
        if from.next().is_none() {
            return false;
        }
        (glob, id) = (after_star.clone(), from.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(glob: &str, id: &str, expected: bool) {
        assert_eq!(matches(glob, id), expected, "{glob} {id}");
    }

    #[test]
    fn question_mark_is_exactly_one_character() {
        check("app?", "app1", true);
        check("app?", "appé", true);
        check("app?", "app", false);
        check("app?", "app12", false);
    }

    #[test]
    fn star_is_any_characters_and_none() {
        check("pre*", "pre", true);
        check("pre*", "preX/Y", true);
        check("*", "", true);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "a-c-b", false);
    }

    #[test]
    fn pattern_of_many_stars_is_compared_in_steps_that_can_be_counted() {
        let glob = "*a".repeat(GLOB_MAX_CHARS / 2);
        check(&glob, &"a".repeat(119), false);
        check(&format!("{}b", "a*".repeat(50)), &"a".repeat(119), false);
        check(&"*a".repeat(119), &"a".repeat(119), true);
    }

    #[test]
    fn text_stands_for_itself() {
        check("app1", "app1", true);
        check("app1", "App1", false);
        check("", "", true);
        check("", "a", false);
    }

    #[test]
    fn test_is_about_the_keys_of_the_dialect_alone() {
        let all = Globs(vec!["*".into()]);
        assert!(all.matches("keyd/key/a") && all.matches("keyd/pair/a"));
        assert!(!all.matches("a") && !all.matches("keyd/other/a"));
    }
}
