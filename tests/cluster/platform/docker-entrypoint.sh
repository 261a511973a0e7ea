#!/bin/bash
# Starts MariaDB as the entry point of the official MySQL image does, as far as the chart relies on it.
# At the first start it makes the data, the accounts and the database that MYSQL_* name, and runs /docker-entrypoint-initdb.d.
set -euo pipefail
shopt -s nullglob

fail() {
  echo "docker-entrypoint.sh: $*" >&2
  exit 1
}

take_from_file() { # name: sets it to what the file that NAME_FILE names holds
  local file="$1_FILE"
  [ -n "${!file:-}" ] || return 0
  [ -z "${!1:-}" ] || fail "both $1 and $file are set; keep one of them"
  export "$1=$(<"${!file}")"
  unset "$file"
}

setting() { # name command...: what the server would use
  local name=$1 all
  shift
  all=$("$@" --verbose --help 2>/dev/null)
  awk -v line="^$name " '$0 ~ line { print $2; exit }' <<<"$all"
}

text() { # the word as a string of SQL
  local word=${1//\\/"\\\\"}
  printf "'%s'" "${word//"'"/"''"}"
}

name() { # the word as a name of SQL
  printf '`%s`' "${1//'`'/'``'}"
}

docker_process_sql() { # sourced scripts may call it, too
  mysql --no-defaults --protocol=socket --socket="$socket" --user=root --comments "$@"
}

accounts() {
  local host=${MYSQL_ROOT_HOST:-%} database=${MYSQL_DATABASE:-}
  echo "SET @@SESSION.SQL_LOG_BIN = 0;"
  echo "DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost'); FLUSH PRIVILEGES;"
  echo "ALTER USER 'root'@'localhost' IDENTIFIED BY $(text "$MYSQL_ROOT_PASSWORD");"
  if [ "$host" != localhost ]; then
    echo "CREATE USER 'root'@$(text "$host") IDENTIFIED BY $(text "$MYSQL_ROOT_PASSWORD");"
    echo "GRANT ALL ON *.* TO 'root'@$(text "$host") WITH GRANT OPTION;"
  fi
  [ -z "$database" ] || echo "CREATE DATABASE IF NOT EXISTS $(name "$database");"
  if [ -n "${MYSQL_USER:-}" ]; then
    echo "CREATE USER $(text "$MYSQL_USER")@'%' IDENTIFIED BY $(text "$MYSQL_PASSWORD");"
    # An underscore stands for any letter in a grant, unless it is escaped.
    [ -z "$database" ] || echo "GRANT ALL ON $(name "${database//_/'\_'}").* TO $(text "$MYSQL_USER")@'%';"
  fi
}

run_file() {
  echo "docker-entrypoint.sh: running $1"
  case $1 in
    *.sh) if [ -x "$1" ]; then "$1"; else . "$1"; fi ;;
    *.sql) docker_process_sql ${MYSQL_DATABASE:+"$MYSQL_DATABASE"} <"$1" ;;
    *.sql.gz) gunzip --stdout "$1" | docker_process_sql ${MYSQL_DATABASE:+"$MYSQL_DATABASE"} ;;
    *) echo "docker-entrypoint.sh: ignoring $1" ;;
  esac
}

first_start() { # command...
  local server file
  [ -n "${MYSQL_ROOT_PASSWORD:-}" ] || fail "the data folder is empty and MYSQL_ROOT_PASSWORD is not set"
  [ -z "${MYSQL_USER:-}" ] || [ -n "${MYSQL_PASSWORD:-}" ] || fail "MYSQL_USER is set and MYSQL_PASSWORD is not"
  mariadb-install-db --rpm --auth-root-authentication-method=normal --skip-test-db --datadir="$data" "${@:2}" >/dev/null
  "$@" --skip-networking &
  server=$!
  until mysqladmin --no-defaults --protocol=socket --socket="$socket" --user=root --silent ping >/dev/null 2>&1; do
    kill -0 "$server" 2>/dev/null || fail "the server ended before it answered"
    sleep 0.1
  done
  accounts | docker_process_sql mysql
  export MYSQL_PWD=$MYSQL_ROOT_PASSWORD
  for file in /docker-entrypoint-initdb.d/*; do
    run_file "$file"
  done
  mysqladmin --no-defaults --protocol=socket --socket="$socket" --user=root shutdown
  wait "$server"
  unset MYSQL_PWD
}

if [ $# = 0 ] || [ "${1#-}" != "$1" ]; then
  set -- mysqld "$@"
fi
[ "$1" = mysqld ] || exec "$@"
for variable in MYSQL_ROOT_PASSWORD MYSQL_ROOT_HOST MYSQL_DATABASE MYSQL_USER MYSQL_PASSWORD; do
  take_from_file "$variable"
done
data=$(setting datadir "$@")
socket=$(setting socket "$@")
[ -d "$data/mysql" ] || first_start "$@"
exec "$@"
