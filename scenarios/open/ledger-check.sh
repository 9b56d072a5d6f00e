# ledger-check.sh DB ACKS: each batch is there whole or not at all, and every acknowledged one is; on a copy, since the
# first query recovers the database.
set -e
ask() { sqlite3 "$db" "$1"; }
db=$1
[ "$(ask 'PRAGMA integrity_check')" = ok ] || { echo "integrity_check objects"; exit 1; }
[ "$(ask 'SELECT count(*) FROM entry WHERE batch < 0')" = 60 ] || { echo "old entries are lost"; exit 1; }
for batch in 1 2 3; do
    lines=$(ask "SELECT count(*) FROM entry WHERE batch = $batch")
    case $lines in
    0) case " $(echo $2) " in *" $batch "*) echo "batch $batch was committed and is gone"; exit 1 ;; esac ;;
    20) ;;
    *) echo "batch $batch has $lines of 20 lines"; exit 1 ;;
    esac
done
