use super::*;

const TTL: u64 = 1000;

fn secret() -> HashKey {
    HashKey::new([7; 32])
}

fn session(number: u32) -> Session {
    Session::named(&number.to_le_bytes(), 0, &secret())
}

fn settle(sessions: &Sessions, number: u32, now: u64) {
    sessions.settle(session(number), TargetId(number), Millis(now));
}

fn home(sessions: &Sessions, number: u32, now: u64) -> Option<u32> {
    sessions.home(session(number), Millis(now)).map(|target| target.0)
}

#[test]
fn a_session_lives_where_its_last_request_went() {
    let sessions = Sessions::new(10, TTL);
    assert_eq!(home(&sessions, 1, 0), None);
    settle(&sessions, 1, 0);
    assert_eq!(home(&sessions, 1, 5), Some(1));
    assert_eq!(sessions.settle(session(1), TargetId(9), Millis(6)), Some(TargetId(1)));
    assert_eq!((home(&sessions, 1, 7), sessions.len()), (Some(9), 1));
}

#[test]
fn where_its_answers_are_made_is_remembered_apart() {
    let sessions = Sessions::new(10, TTL);
    settle(&sessions, 1, 0);
    let decoding = session(1).decoding();
    assert_eq!((decoding.key(), sessions.home(decoding, Millis(1))), (session(1).key(), None));
    sessions.settle(decoding, TargetId(7), Millis(1));
    assert_eq!((sessions.home(decoding, Millis(2)), home(&sessions, 1, 2)), (Some(TargetId(7)), Some(1)));
}

#[test]
fn it_is_forgotten_after_its_time_and_not_before() {
    let sessions = Sessions::new(10, TTL);
    settle(&sessions, 1, 500);
    // Others come and go meanwhile, and the generations turn.
    settle(&sessions, 2, 1200);
    assert_eq!(home(&sessions, 1, 1499), Some(1));
    assert_eq!(home(&sessions, 1, 1500), None);
    settle(&sessions, 2, 2300);
    assert_eq!(sessions.settle(session(3), TargetId(3), Millis(3400)), None);
    assert_eq!(sessions.len(), 2, "what expired is given up");
}

#[test]
fn the_table_is_bounded_and_keeps_those_heard_of_last() {
    for bound in [2, 100, 4096] {
        let sessions = Sessions::new(bound as usize, TTL);
        for number in 0..bound * 5 {
            settle(&sessions, number, 0);
            assert!(sessions.len() <= bound as usize);
            assert_eq!(home(&sessions, number, 0), Some(number));
        }
        // Shards fill unevenly; a quarter is well within what each keeps.
        let last = bound * 5 - bound / 4..bound * 5;
        assert!(last.clone().all(|number| home(&sessions, number, 0) == Some(number)));
    }
}

#[test]
fn one_that_is_heard_of_again_and_again_stays_whatever_comes_between() {
    let sessions = Sessions::new(10, TTL);
    for number in 1..1000 {
        settle(&sessions, 0, number.into());
        settle(&sessions, number, number.into());
        assert_eq!(home(&sessions, 0, number.into()), Some(0));
    }
}

#[test]
fn keys_are_the_same_everywhere_and_slots_are_not() {
    let other = HashKey::new([8; 32]);
    let (here, there) = (Session::named(b"chat-1", 0, &secret()), Session::named(b"chat-1", 0, &other));
    assert_eq!(here.key(), there.key());
    assert_ne!(here.slot, there.slot);
    assert_eq!(stable_key(b"chat-1"), 0x0d79_9bd1_7680_52fb, "changes with no release");
    assert_ne!(Session::named(b"chat-1", 5, &secret()).key(), here.key(), "another tenant's");
}
