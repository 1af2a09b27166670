_prefork() {
    COMPREPLY=()
    case "$3" in
    -c|--config) return ;;
    --import-gunicorn) return ;;
    --chdir) return ;;
    --pythonpath) return ;;
    -e|--env) return ;;
    --hook) return ;;
    -b|--bind) return ;;
    --proxy-allow-from) return ;;
    --forwarded-allow-ips) return ;;
    --backlog) return ;;
    --dispatch) COMPREPLY=($(compgen -W 'round-robin shared' -- "$2")); return ;;
    -m|--umask) return ;;
    -w|--workers) return ;;
    -k|--worker-class) COMPREPLY=($(compgen -W 'sync threads gevent' -- "$2")); return ;;
    --threads) return ;;
    -t|--timeout) return ;;
    --request-timeout) return ;;
    --max-requests) return ;;
    --max-requests-jitter) return ;;
    --max-memory) return ;;
    --worker-connections) return ;;
    --ready-path) return ;;
    --listen-timeout) return ;;
    --kill-timeout|--graceful-timeout) return ;;
    --reload-bake) return ;;
    --reload-extra-file) return ;;
    --reload-engine) COMPREPLY=($(compgen -W 'auto inotify poll' -- "$2")); return ;;
    --drain-delay) return ;;
    --keep-alive) return ;;
    --header-timeout) return ;;
    --body-timeout) return ;;
    --send-timeout) return ;;
    --client-rate) return ;;
    --certfile) return ;;
    --keyfile) return ;;
    --tls-hosts) return ;;
    --ca-certs) return ;;
    --tls-verify|--cert-reqs) COMPREPLY=($(compgen -W 'none optional required' -- "$2")); return ;;
    --tls-min-version) COMPREPLY=($(compgen -W 'TLSv1.2 TLSv1.3' -- "$2")); return ;;
    --ciphers) return ;;
    --tls-processes) return ;;
    --limit-connections) return ;;
    --limit-request-line) return ;;
    --limit-request-fields) return ;;
    --limit-request-field-size|--limit-request-field_size) return ;;
    --limit-request-body) return ;;
    -u|--user) return ;;
    -g|--group) return ;;
    -p|--pid) return ;;
    -n|--name) return ;;
    --control-socket) return ;;
    --access-logfile) return ;;
    --access-logformat) return ;;
    --request-id-header) return ;;
    --error-logfile|--log-file) return ;;
    --log-level) COMPREPLY=($(compgen -W 'debug info warning error critical' -- "$2")); return ;;
    --log-format) COMPREPLY=($(compgen -W 'text json' -- "$2")); return ;;
    --log) return ;;
    --metrics-bind) return ;;
    --statsd-host) return ;;
    --statsd-prefix) return ;;
    --dogstatsd-tags) return ;;
    esac
    case "$2" in
    -*) COMPREPLY=($(compgen -W '-h --help -c --config --check-config --print-config --version --import-gunicorn --chdir --pythonpath -e --env --hook -b --bind --proxy-protocol --no-proxy-protocol --proxy-allow-from --forwarded-allow-ips --backlog --dispatch -m --umask -w --workers -k --worker-class --preload --no-preload --threads -t --timeout --request-timeout --max-requests --max-requests-jitter --max-memory --worker-connections --wait-ready --no-wait-ready --ready-path --listen-timeout --kill-timeout --graceful-timeout --reload-bake --reload --no-reload --reload-extra-file --reload-engine --drain-delay --keep-alive --header-timeout --body-timeout --send-timeout --client-rate --certfile --keyfile --tls-hosts --ca-certs --tls-verify --cert-reqs --tls-min-version --ciphers --tls-processes --limit-connections --limit-request-line --limit-request-fields --limit-request-field-size --limit-request-field_size --limit-request-body -u --user -g --group -p --pid -n --name --control-socket --access-logfile --access-logformat --request-id --no-request-id --request-id-header --error-logfile --log-file --log-level --log-format --log --metrics-bind --statsd-host --statsd-prefix --dogstatsd-tags' -- "$2")) ;;
    *) COMPREPLY=($(compgen -W '' -- "$2")) ;;
    esac
}
complete -o default -F _prefork prefork
