# ledger.sh DB [MODE]: a ledger with three batches of entries, in rollback-journal mode or another one.
set -e
sqlite3 "$1" <<'SQL'
PRAGMA page_size = 4096;
CREATE TABLE entry (batch INTEGER, line INTEGER, note TEXT, PRIMARY KEY (batch, line));
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
INSERT INTO entry SELECT -(i % 3) - 1, i, printf('%.200c', 'x') FROM n;
SQL
[ -z "$2" ] || sqlite3 "$1" "PRAGMA journal_mode = $2" > /dev/null
