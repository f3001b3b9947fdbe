//! What is said about keys, the administrator, the audit log and usage.

use crate::language::Language;

messages! {
    key_created(id: &str) {
        en: "Key {id} is ready. It is shown this once; keep it safe:",
        ko: "{id} 키를 만들었습니다. 지금 한 번만 보여 드리므로 안전하게 보관하십시오:",
    }
    key_rotated(old: &str, id: &str, until: &str) {
        en: "Key {id} takes the place of {old}, which works until {until}. It is shown this once; keep it safe:",
        ko: "{id} 키가 {old} 키를 대신합니다. 기존 키는 {until}까지 쓸 수 있습니다. 지금 한 번만 보여 드리므로 안전하게 보관하십시오:",
    }
    key_revoked(id: &str) {
        en: "Key {id} is revoked",
        ko: "{id} 키를 폐기했습니다",
    }
    no_keys() {
        en: "There are no keys yet; `saem key create NAME` makes one",
        ko: "아직 키가 없습니다. `saem key create 이름`으로 만드십시오",
    }
    key_active() {
        en: "active",
        ko: "사용 중",
    }
    key_replaced() {
        en: "replaced",
        ko: "교체됨",
    }
    key_expired() {
        en: "expired",
        ko: "만료됨",
    }
    key_was_revoked() {
        en: "revoked",
        ko: "폐기됨",
    }
    key_unknown(id: &str) {
        en: "there is no key with the id {id}",
        ko: "이 번호의 키가 없습니다: {id}",
    }
    key_list_hint() {
        en: "`saem key list` shows the ids",
        ko: "`saem key list`로 번호를 확인하십시오",
    }
    key_inactive(id: &str) {
        en: "key {id} is revoked, has expired or was replaced already",
        ko: "이미 폐기되었거나 만료되었거나 교체된 키입니다: {id}",
    }
    key_create_hint() {
        en: "`saem key create NAME` makes a new one",
        ko: "`saem key create 이름`으로 새로 만드십시오",
    }
    column_id() {
        en: "ID",
        ko: "번호",
    }
    column_state() {
        en: "STATE",
        ko: "상태",
    }
    column_scopes() {
        en: "SCOPES",
        ko: "권한",
    }
    column_per_minute() {
        en: "PER MINUTE",
        ko: "분당 한도",
    }
    column_expires() {
        en: "EXPIRES",
        ko: "만료",
    }
    column_last_used() {
        en: "LAST USED",
        ko: "마지막 사용",
    }
    requests_and_tokens(requests: &str, tokens: &str) {
        en: "{requests} requests, {tokens} tokens",
        ko: "요청 {requests}, 토큰 {tokens}",
    }
    ask_password() {
        en: "New password of the administrator (10 letters or more): ",
        ko: "새 관리자 암호 (10자 이상): ",
    }
    ask_password_again() {
        en: "Once more: ",
        ko: "한 번 더: ",
    }
    password_set() {
        en: "The administrator's password is set",
        ko: "관리자 암호를 정했습니다",
    }
    passwords_differ() {
        en: "the two passwords differ",
        ko: "두 암호가 다릅니다",
    }
    bad_password() {
        en: "the password needs 10 letters or more, and at most 1024 bytes",
        ko: "암호는 10자 이상, 1024바이트 이하여야 합니다",
    }
    audit_intact(rows: i64, hash: &str) {
        en: "The audit log is intact: {rows} rows, the last with the hash {hash}",
        ko: "감사 기록에 이상이 없습니다. 모두 {rows}행, 마지막 행의 해시 {hash}",
    }
    audit_empty() {
        en: "The audit log is empty",
        ko: "감사 기록이 비어 있습니다",
    }
    audit_altered(row: i64) {
        en: "the audit log was tampered with: row {row} does not follow from the row before",
        ko: "감사 기록이 변조되었습니다. {row}번째 행이 앞 행과 이어지지 않습니다",
    }
    audit_missing(row: i64) {
        en: "the audit log was tampered with: row {row} is missing",
        ko: "감사 기록이 변조되었습니다. {row}번째 행이 없습니다",
    }
    audit_wrong_end(row: i64) {
        en: "the audit log was tampered with: its end does not fit row {row}",
        ko: "감사 기록이 변조되었습니다. 기록의 끝이 {row}번째 행과 맞지 않습니다",
    }
    audit_after_end(row: i64) {
        en: "the audit log was tampered with: row {row} comes after its end",
        ko: "감사 기록이 변조되었습니다. {row}번째 행이 기록의 끝보다 뒤에 있습니다",
    }
    column_when() {
        en: "WHEN",
        ko: "시각",
    }
    column_who() {
        en: "WHO",
        ko: "누가",
    }
    column_action() {
        en: "ACTION",
        ko: "동작",
    }
    column_subject() {
        en: "OF WHAT",
        ko: "대상",
    }
    column_from() {
        en: "FROM",
        ko: "어디서",
    }
    column_result() {
        en: "RESULT",
        ko: "결과",
    }
    no_usage() {
        en: "Nothing was used in these days",
        ko: "이 기간에 사용한 기록이 없습니다",
    }
    column_day() {
        en: "DAY",
        ko: "날짜",
    }
    column_key() {
        en: "KEY",
        ko: "키",
    }
    column_model() {
        en: "MODEL",
        ko: "모델",
    }
    column_requests() {
        en: "REQUESTS",
        ko: "요청",
    }
    column_prompt_tokens() {
        en: "PROMPT",
        ko: "프롬프트",
    }
    column_cached_tokens() {
        en: "CACHED",
        ko: "캐시",
    }
    column_completion_tokens() {
        en: "ANSWER",
        ko: "답변",
    }
    bad_field(field: &str) {
        en: "{field}: it is empty, too long, or holds control characters",
        ko: "비었거나 너무 길거나 제어 문자가 들어 있습니다: {field}",
    }
    database_unknown(location: &str) {
        en: "this is no database that Saem knows: {location}",
        ko: "사용할 수 없는 데이터베이스입니다: {location}",
    }
    database_unknown_hint() {
        en: "DATABASE_URL may be postgres://user:password@host/database or sqlite:path",
        ko: "DATABASE_URL에는 postgres://사용자:암호@서버/데이터베이스 또는 sqlite:경로를 쓰십시오",
    }
    database_failed() {
        en: "the database cannot be used",
        ko: "데이터베이스를 사용할 수 없습니다",
    }
    database_newer() {
        en: "the database was made by another version of Saem",
        ko: "다른 버전의 Saem이 만든 데이터베이스입니다",
    }
    database_newer_hint() {
        en: "use the newest Saem that has opened it",
        ko: "이 데이터베이스를 연 가장 새로운 Saem을 사용하십시오",
    }
}
