_preforkctl() {
    COMPREPLY=()
    case "$3" in
    -c|--config) return ;;
    -p|--pidfile) return ;;
    --pid) return ;;
    --socket) return ;;
    --timeout) return ;;
    --interval) return ;;
    --count) return ;;
    esac
    case "$2" in
    -*) COMPREPLY=($(compgen -W '-h --help -c --config -p --pidfile --pid --socket --json --timeout --version --wait --quick --interval --count' -- "$2")) ;;
    *) COMPREPLY=($(compgen -W 'status reload stop scale reopen-logs retire stacks top' -- "$2")) ;;
    esac
}
complete -o default -F _preforkctl preforkctl
