# old-or-new.sh FILE ACKS: the file is whole, and the new one once that was acknowledged.
case $2 in
new) wanted='new' ;;
*) wanted='old|new' ;;
esac
grep -Eqx "($wanted) 0123456789" "$1" || { echo "$1 holds: $(head -c 40 "$1" | tr '\0' '0')"; exit 1; }
