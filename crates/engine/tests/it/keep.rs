//! What was computed before a restart is not computed after it, and what is on the disk is not trusted.

use saem_engine::{RecallError, Request, Worker};

use crate::worker::{Log, limits, prompt, sampling, worker_with};

const MODEL: [u8; 32] = [7; 32];

/// Runs a request to its end; the tokens it made and those that the cache had.
fn run(worker: &mut Worker, request: &Request) -> (Vec<u32>, usize) {
    let id = worker.submit(request.clone()).unwrap();
    let mut log = Log::default();
    log.run(worker);
    (log.texts.remove(&(id, 0)).unwrap_or_default().tokens, log.usage[&id].cached_tokens)
}

/// Requests of two tenants, some of which begin alike.
fn requests() -> Vec<Request> {
    let common = prompt(100, 1);
    let request = |tail: u32, tenant: u64| {
        let text = common.iter().copied().chain(prompt(80, tail)).collect();
        Request { max_tokens: Some(12), tenant, ..Request::new(text, sampling(3)) }
    };
    vec![request(5, 0), request(6, 0), request(5, 9)]
}

fn kept() -> (Vec<u8>, usize, Vec<(Vec<u32>, usize)>) {
    let mut worker = worker_with(60, limits());
    let answers = requests().iter().map(|request| run(&mut worker, request)).collect();
    let mut file = Vec::new();
    let blocks = worker.keep(&MODEL, usize::MAX, &mut file).unwrap();
    assert_eq!(blocks, worker.stats().blocks_kept);
    (file, blocks, answers)
}

#[test]
fn texts_are_known_after_a_restart() {
    let (file, blocks, answers) = kept();
    let mut worker = worker_with(60, limits());
    assert_eq!(worker.recall(&MODEL, &mut file.as_slice()).unwrap(), blocks);
    assert_eq!(worker.stats().blocks_kept, blocks);
    for (request, (tokens, _)) in requests().iter().zip(answers) {
        let whole = (request.prompt.len() - 1) / 32 * 32;
        assert_eq!(run(&mut worker, request), (tokens, whole));
    }
    let stranger = Request { tenant: 77, ..requests()[0].clone() };
    assert_eq!(run(&mut worker, &stranger).1, 0, "another tenant shares nothing");
    // Everything is there to be given up again.
    let large = Request { max_tokens: Some(1), ..Request::new(prompt(limits().context - 1, 3), sampling(1)) };
    for _ in 0..8 {
        run(&mut worker, &large);
    }
    let stats = worker.stats();
    assert_eq!((stats.blocks_used, stats.blocks), (0, 60));
}

#[test]
fn a_smaller_cache_keeps_what_was_used_last() {
    let (file, blocks, _) = kept();
    let mut worker = worker_with(blocks - 3, limits());
    assert_eq!(worker.recall(&MODEL, &mut file.as_slice()).unwrap(), blocks - 3);
    let last = &requests()[2];
    assert_eq!(run(&mut worker, last).1, (last.prompt.len() - 1) / 32 * 32);
    let mut few = Vec::new();
    let mut worker = worker_with(60, limits());
    run(&mut worker, last);
    assert_eq!(worker.keep(&MODEL, 2, &mut few).unwrap(), 2);
    let mut worker = worker_with(60, limits());
    assert_eq!(worker.recall(&MODEL, &mut few.as_slice()).unwrap(), 2);
    assert_eq!(run(&mut worker, last).1, 64);
}

#[test]
fn what_is_not_whole_is_not_taken() {
    let (file, ..) = kept();
    let mut worker = worker_with(60, limits());
    let mut refused = |file: &[u8], model: &[u8; 32]| {
        let error = worker.recall(model, &mut &*file).unwrap_err();
        assert_eq!(worker.stats().blocks_kept, 0, "{error}");
        let request = &requests()[0];
        assert_eq!(run(&mut worker, request).1, 0, "{error}");
        worker.reset();
        error
    };
    assert!(matches!(refused(&file, &[8; 32]), RecallError::Foreign));
    assert!(matches!(refused(b"", &MODEL), RecallError::Io(_)));
    for end in [3, 47, 48, 60, file.len() / 2, file.len() - 1] {
        assert!(matches!(refused(&file[..end], &MODEL), RecallError::Io(_)), "{end}");
    }
    for place in (0..file.len()).step_by(97) {
        let mut changed = file.clone();
        changed[place] ^= 0x10;
        refused(&changed, &MODEL);
    }
    let mut endless = file.clone();
    endless[40..48].fill(0xff);
    refused(&endless, &MODEL);
}
