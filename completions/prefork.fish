complete -c prefork -s h -l help
complete -c prefork -s c -l config -r
complete -c prefork -l check-config
complete -c prefork -l print-config
complete -c prefork -l version
complete -c prefork -l import-gunicorn -r
complete -c prefork -l chdir -r
complete -c prefork -l pythonpath -r
complete -c prefork -s e -l env -r
complete -c prefork -l hook -r
complete -c prefork -s b -l bind -r
complete -c prefork -l proxy-protocol -l no-proxy-protocol
complete -c prefork -l proxy-allow-from -r
complete -c prefork -l forwarded-allow-ips -r
complete -c prefork -l backlog -r
complete -c prefork -l dispatch -x -a 'round-robin shared'
complete -c prefork -s m -l umask -r
complete -c prefork -s w -l workers -r
complete -c prefork -s k -l worker-class -x -a 'sync threads gevent'
complete -c prefork -l preload -l no-preload
complete -c prefork -l threads -r
complete -c prefork -s t -l timeout -r
complete -c prefork -l request-timeout -r
complete -c prefork -l max-requests -r
complete -c prefork -l max-requests-jitter -r
complete -c prefork -l max-memory -r
complete -c prefork -l worker-connections -r
complete -c prefork -l wait-ready -l no-wait-ready
complete -c prefork -l ready-path -r
complete -c prefork -l listen-timeout -r
complete -c prefork -l kill-timeout -l graceful-timeout -r
complete -c prefork -l reload-bake -r
complete -c prefork -l reload -l no-reload
complete -c prefork -l reload-extra-file -r
complete -c prefork -l reload-engine -x -a 'auto inotify poll'
complete -c prefork -l drain-delay -r
complete -c prefork -l keep-alive -r
complete -c prefork -l header-timeout -r
complete -c prefork -l body-timeout -r
complete -c prefork -l send-timeout -r
complete -c prefork -l client-rate -r
complete -c prefork -l certfile -r
complete -c prefork -l keyfile -r
complete -c prefork -l tls-hosts -r
complete -c prefork -l ca-certs -r
complete -c prefork -l tls-verify -l cert-reqs -x -a 'none optional required'
complete -c prefork -l tls-min-version -x -a 'TLSv1.2 TLSv1.3'
complete -c prefork -l ciphers -r
complete -c prefork -l tls-processes -r
complete -c prefork -l limit-connections -r
complete -c prefork -l limit-request-line -r
complete -c prefork -l limit-request-fields -r
complete -c prefork -l limit-request-field-size -l limit-request-field_size -r
complete -c prefork -l limit-request-body -r
complete -c prefork -s u -l user -r
complete -c prefork -s g -l group -r
complete -c prefork -s p -l pid -r
complete -c prefork -s n -l name -r
complete -c prefork -l control-socket -r
complete -c prefork -l access-logfile -r
complete -c prefork -l access-logformat -r
complete -c prefork -l request-id -l no-request-id
complete -c prefork -l request-id-header -r
complete -c prefork -l error-logfile -l log-file -r
complete -c prefork -l log-level -x -a 'debug info warning error critical'
complete -c prefork -l log-format -x -a 'text json'
complete -c prefork -l log -r
complete -c prefork -l metrics-bind -r
complete -c prefork -l statsd-host -r
complete -c prefork -l statsd-prefix -r
complete -c prefork -l dogstatsd-tags -r
