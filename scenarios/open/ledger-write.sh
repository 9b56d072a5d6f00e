# ledger-write.sh DB PRAGMAS…: writes three batches, each in a transaction, and says so once each is committed. What is
# there already stays as it is.
set -e
db=$1
shift
{
    for pragma; do echo "PRAGMA $pragma;"; done
    for batch in 1 2 3; do
        echo "BEGIN IMMEDIATE;"
        echo "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)"
        echo "INSERT OR IGNORE INTO entry SELECT $batch, i, printf('%.300c', 'y') FROM n;"
        echo "COMMIT;"
        echo "SELECT 'committed $batch';"
    done
} | sqlite3 -bail "$db"
