package cli

import (
	"fmt"
	"text/template"

	"github.com/authbus/authbus/authsvc/internal/dev"
)

// devHints are lines to copy.
var devHints = template.Must(template.New("hints").Parse(`auth service  {{.Auth}}
broker        {{.Broker}}
orders        {{.Orders}}
billing       {{.Billing}}
gateway       {{.Gateway}}, in front of both as /orders and /billing

Register, log in, call a service:

  curl -sS -H 'Content-Type: application/json' -d '{"username":"ada","email":"ada@example.org","password":"nine quiet otters juggle"}' {{.Auth}}/v1/accounts
  curl -sS -H 'Content-Type: application/json' -d '{"login":"ada","password":"nine quiet otters juggle"}' {{.Auth}}/v1/sessions
{{- if .CA}}

Orders and billing talk to the gateway only, so this token opens nothing by itself.
{{- else}}
  curl -sS -H "Authorization: Bearer $TOKEN" {{.Orders}}/
  curl -sS -H "Authorization: Bearer $TOKEN" -X DELETE {{.Auth}}/v1/sessions/current
{{- end}}

The same through the gateway, with a token that says nothing and opens nothing else:

  curl -sS -H 'Content-Type: application/json' -d '{"login":"ada","password":"nine quiet otters juggle"}' {{.Gateway}}/login
  curl -sS -H "Authorization: Bearer $TOKEN" {{.Gateway}}/orders
  curl -sS -H "Authorization: Bearer $TOKEN" -X POST {{.Gateway}}/logout

Watch, and administer:

  {{.NATS}} sub 'auth.events.>'
  {{.NATS}} stream {{if .CA}}info{{else}}view{{end}} AUTH_REVOCATIONS
  go run ./authsvc login --server {{.Auth}} admin
  go run ./authsvc revoke user SUB --reason 'laptop stolen'
{{- if .CA}}
  go run ./authsvc ca --dir {{.CA}} show
  go run ./authsvc ca --dir {{.CA}} revoke orders --reason 'key stolen'
{{- end}}

Ctrl-C stops it. The data stay in {{.Dir}}.
`))

func (c *devCmd) hints(t *terminal, s *dev.Stack) error {
	hints := struct{ Auth, Broker, Orders, Billing, Gateway, NATS, CA, Dir string }{
		Auth: s.Node().URL(), Broker: s.NATSURL(), Gateway: s.GatewayURL(), NATS: "nats -s " + s.NATSURL(), Dir: c.Dir,
	}
	hints.Orders, hints.Billing = s.ServiceURLs()
	if m := s.Mutual(); m != nil {
		hints.CA = m.CADir
		hints.NATS += fmt.Sprintf(" --tlscert %s --tlskey %s --tlsca %s --inbox-prefix %s",
			m.Operator.CertFile, m.Operator.KeyFile, m.Operator.CAFile, m.InboxPrefix)
	}
	return devHints.Execute(t.out, hints)
}
