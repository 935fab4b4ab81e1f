// Package dev is the whole stack in one process, for people who develop services:
// broker, auth service, the demo services orders and billing, and a gateway in front
// of them.
//
//	s, err := dev.Start(ctx, dev.Config{Dir: ".authsvc"})
//	defer s.Close()
//
// # Mutual TLS
//
// With Config.Mutual every hop behind the gateway is over mutual TLS: with the broker,
// which runs from the configuration that `authsvc nats-config` writes, between gateway
// and services, and from the gateway to the auth service. The CA is thrown away at the
// end and made anew at each start, and renews certificates as `authsvc ca serve`
// does. Users and admins reach the gateway and the auth service as without.
//
// # Not promised
//
// It is for one machine: the addresses are loopback, clients have no TLS, and the
// keys of the CA are beside the data. With mutual TLS it has to be started again within
// six days, when the broker's own certificate expires, which nobody renews.
package dev
