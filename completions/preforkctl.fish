complete -c preforkctl -f -n __fish_use_subcommand -a 'status reload stop scale reopen-logs retire stacks top'
complete -c preforkctl -s h -l help
complete -c preforkctl -s c -l config -r
complete -c preforkctl -s p -l pidfile -r
complete -c preforkctl -l pid -r
complete -c preforkctl -l socket -r
complete -c preforkctl -l json
complete -c preforkctl -l timeout -r
complete -c preforkctl -l version
complete -c preforkctl -l wait
complete -c preforkctl -l quick
complete -c preforkctl -l interval -r
complete -c preforkctl -l count -r
