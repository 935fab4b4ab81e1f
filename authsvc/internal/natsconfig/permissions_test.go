package natsconfig_test

import (
	"slices"
	"strings"
	"testing"
)

// identities are those that a configuration of everybody knows.
var identities = []string{
	"authsvc-publisher", "authsvc-answerer", "ca", "authsvc-enforcer",
	"orders", "thin", "audit", "gateway", "operator",
}

const (
	verifiers = "orders thin gateway "
	nobody    = ""
)

// mayPublishOn is who may publish on what. It is written by hand: what is not
// here, and what no name stands behind, is refused to everybody.
var mayPublishOn = map[string]string{
	"auth.revocations.token":                                "authsvc-publisher",
	"auth.revocations.everyone":                             "authsvc-publisher",
	"auth.events.login.succeeded.u_1":                       "authsvc-publisher",
	"auth.fresh":                                            verifiers + "ca",
	"auth.range":                                            verifiers + "ca",
	"auth.status":                                           verifiers + "ca",
	"auth.keys":                                             verifiers + "ca",
	"auth.verify":                                           "thin",
	"auth.ca.renew":                                         verifiers + "audit operator authsvc-publisher",
	"auth.other":                                            nobody,
	"auth":                                                  nobody,
	"anything":                                              nobody,
	"_INBOX.abc":                                            nobody,
	"_INBOX_orders.abc":                                     nobody,
	"_INBOX_ca.abc":                                         "authsvc-answerer",
	"_INBOX_authsvc-publisher.abc":                          "ca",
	"_R_.abc.def":                                           "authsvc-answerer ca",
	"$SRV.PING":                                             "operator",
	"$SRV.INFO.authsvc":                                     "operator",
	"$JS.API.INFO":                                          "authsvc-publisher operator gateway",
	"$JS.API.STREAM.NAMES":                                  "operator",
	"$JS.API.STREAM.LIST":                                   "operator",
	"$JS.API.STREAM.INFO.AUTH_EVENTS":                       "authsvc-publisher audit operator",
	"$JS.API.STREAM.CREATE.AUTH_EVENTS":                     "authsvc-publisher",
	"$JS.API.STREAM.UPDATE.AUTH_EVENTS":                     "authsvc-publisher",
	"$JS.API.STREAM.DELETE.AUTH_EVENTS":                     nobody,
	"$JS.API.STREAM.PURGE.AUTH_EVENTS":                      nobody,
	"$JS.API.STREAM.RESTORE.AUTH_EVENTS":                    nobody,
	"$JS.API.STREAM.SNAPSHOT.AUTH_EVENTS":                   nobody,
	"$JS.API.STREAM.MSG.DELETE.AUTH_EVENTS":                 nobody,
	"$JS.API.STREAM.MSG.GET.AUTH_EVENTS":                    "operator",
	"$JS.API.STREAM.INFO.AUTH_REVOCATIONS":                  "authsvc-publisher operator",
	"$JS.API.STREAM.CREATE.AUTH_REVOCATIONS":                "authsvc-publisher",
	"$JS.API.STREAM.UPDATE.AUTH_REVOCATIONS":                "authsvc-publisher",
	"$JS.API.STREAM.DELETE.AUTH_REVOCATIONS":                nobody,
	"$JS.API.STREAM.PURGE.AUTH_REVOCATIONS":                 nobody,
	"$JS.API.STREAM.MSG.DELETE.AUTH_REVOCATIONS":            nobody,
	"$JS.API.STREAM.CREATE.OTHER":                           nobody,
	"$JS.API.STREAM.LEADER.STEPDOWN.AUTH_REVOCATIONS":       nobody,
	"$JS.API.META.LEADER.STEPDOWN":                          nobody,
	"$JS.API.ACCOUNT.PURGE.AUTH":                            nobody,
	"$JS.API.DIRECT.GET.AUTH_REVOCATIONS":                   verifiers + "ca authsvc-publisher operator",
	"$JS.API.DIRECT.GET.AUTH_EVENTS":                        "authsvc-publisher operator",
	"$JS.API.CONSUMER.CREATE.AUTH_REVOCATIONS":              nobody,
	"$JS.API.CONSUMER.CREATE.AUTH_REVOCATIONS.c":            "authsvc-publisher",
	"$JS.API.CONSUMER.DURABLE.CREATE.AUTH_REVOCATIONS.c":    nobody,
	"$JS.API.CONSUMER.CREATE.AUTH_EVENTS.audit.auth.events": nobody,
	"$JS.API.CONSUMER.CREATE.AUTH_EVENTS.other.auth.events": nobody,
	"$JS.API.CONSUMER.CREATE.AUTH_EVENTS.audit":             "authsvc-publisher",
	"$JS.API.CONSUMER.DURABLE.CREATE.AUTH_EVENTS.audit":     nobody,
	"$JS.API.CONSUMER.DELETE.AUTH_EVENTS.audit":             nobody,
	"$JS.API.CONSUMER.PAUSE.AUTH_EVENTS.audit":              nobody,
	"$JS.API.CONSUMER.INFO.AUTH_EVENTS.audit":               "authsvc-publisher audit operator",
	"$JS.API.CONSUMER.MSG.NEXT.AUTH_EVENTS.audit":           "audit",
	"$JS.API.CONSUMER.MSG.NEXT.AUTH_EVENTS.mailer":          nobody,
	"$JS.ACK.AUTH_EVENTS.audit.1.1.1.1.0":                   "audit",
	"$JS.ACK.AUTH_EVENTS.mailer.1.1.1.1.0":                  nobody,
	"$KV.gateway_sessions.abc":                              "gateway",
	"$KV.other.abc":                                         nobody,
	"$JS.API.STREAM.CREATE.KV_gateway_sessions":             "gateway",
	"$JS.API.STREAM.DELETE.KV_gateway_sessions":             nobody,
	"$JS.API.STREAM.PURGE.KV_gateway_sessions":              nobody,
	"$JS.API.STREAM.MSG.GET.KV_gateway_sessions":            "gateway",
	"$JS.API.DIRECT.GET.KV_gateway_sessions.x":              nobody,
	"$JS.API.DIRECT.GET.KV_gateway_sessions":                nobody,
	"$JS.API.CONSUMER.CREATE.KV_gateway_sessions.c.x":       nobody,
	"$SYS.REQ.SERVER.PING.IDZ":                              "authsvc-enforcer",
	"$SYS.REQ.SERVER.NABC.CONNZ":                            "authsvc-enforcer",
	"$SYS.REQ.SERVER.PING.CONNZ":                            "authsvc-enforcer",
	"$SYS.REQ.SERVER.PING.VARZ":                             nobody,
	"$SYS.REQ.SERVER.NABC.KICK":                             "authsvc-enforcer",
	"$SYS.REQ.SERVER.NABC.RELOAD":                           nobody,
	"$SYS.REQ.ACCOUNT.AUTH.CONNZ":                           nobody,
	"$SYS.REQ.CLAIMS.UPDATE":                                nobody,
}

// maySubscribeTo is who may subscribe to what, by "subject" or "subject queue".
var maySubscribeTo = map[string]string{
	">":                             nobody,
	"*":                             nobody,
	"auth.>":                        nobody,
	"auth.*":                        nobody,
	"auth.revocations.>":            verifiers + "ca operator",
	"auth.revocations.token":        verifiers + "ca operator",
	"auth.revocations.> any":        verifiers + "ca operator",
	"auth.events.>":                 "audit operator",
	"auth.events.login.succeeded.*": "audit operator",
	"auth.fresh":                    nobody,
	"auth.fresh authsvc":            "authsvc-answerer",
	"auth.fresh other":              nobody,
	"auth.fresh *":                  nobody,
	"auth.verify":                   nobody,
	"auth.verify authsvc":           "authsvc-answerer",
	"auth.* authsvc":                nobody,
	"> authsvc":                     nobody,
	"auth.ca.renew":                 nobody,
	"auth.ca.renew authsvc-ca":      "ca",
	"_INBOX.>":                      nobody,
	"_INBOX.> q":                    nobody,
	"_INBOX_orders.>":               "orders",
	"_INBOX_orders.> q":             "orders",
	"_INBOX_orders.abc.*":           "orders",
	"_INBOX_*.>":                    nobody,
	"*.>":                           nobody,
	"_INBOX_authsvc-publisher.>":    "authsvc-publisher",
	"_INBOX_ca.>":                   "ca",
	"_INBOX_audit.>":                "audit",
	"_INBOX_gateway.>":              "gateway",
	"_INBOX_operator.>":             "operator",
	"_INBOX_authsvc-enforcer.>":     "authsvc-enforcer",
	"_R_.>":                         nobody,
	"$JS.API.>":                     nobody,
	"$JS.EVENT.>":                   nobody,
	"$JS.ACK.>":                     nobody,
	"$KV.>":                         nobody,
	"$KV.gateway_sessions.>":        nobody,
	"$SYS.>":                        nobody,
	"$SYS.ACCOUNT.*.CONNECT":        "authsvc-enforcer",
	"$SYS.ACCOUNT.>":                nobody,
	"$SYS.SERVER.*.STATSZ":          nobody,
	"$SRV.>":                        nobody,
	"$SRV.PING":                     "authsvc-answerer ca",
	"$SRV.INFO.authsvc":             "authsvc-answerer",
	"$SRV.INFO.authsvc-ca.*":        "ca",
}

func TestEachIdentityMayDoWhatIsListedAndNothingElse(t *testing.T) {
	w := newWorld(t, everybody())
	for _, name := range identities {
		t.Run(name, func(t *testing.T) {
			nc := w.as(t, name)
			for subject, who := range mayPublishOn {
				if got, want := mayPublish(t, nc, subject), slices.Contains(strings.Fields(who), name); got != want {
					t.Errorf("publish on %s: %v, want %v", subject, got, want)
				}
			}
			for entry, who := range maySubscribeTo {
				subject, queue, _ := strings.Cut(entry, " ")
				if got, want := maySubscribe(t, nc, subject, queue), slices.Contains(strings.Fields(who), name); got != want {
					t.Errorf("subscribe to %s: %v, want %v", entry, got, want)
				}
			}
		})
	}
}
