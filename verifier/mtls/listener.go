package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"net"
)

// Listener returns a listener whose connections are TLS with the allowed peers, as
// [Source.Server] has them, and which are closed at once when the peer's
// certificate is revoked, expires, or leads to no trusted root any longer. It is
// what http.Server.Serve takes; HTTP/2 included.
//
//	listener, err := source.Listener(tcp, "gateway", "orders")
//	go server.Serve(listener)
func (s *Source) Listener(inner net.Listener, allow ...string) (net.Listener, error) {
	list, err := s.parseAllowed(allow)
	if err != nil {
		return nil, err
	}
	return &listener{Listener: inner, source: s, list: list}, nil
}

type listener struct {
	net.Listener
	source *Source
	list   allowed
}

// Accept returns a *tls.Conn, because net/http looks for one. Its handshake is
// still to be made, so that a silent peer holds up nobody else.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: conn, source: l.source, usage: x509.ExtKeyUsageClientAuth}
	return tls.Server(c, l.source.server(l.list, c.admitted)), nil
}
