package verifiertest

import (
	"io"
	"net"
	"sync"
)

// link is a TCP proxy that can be cut: then bytes stop flowing, in both
// directions, and nothing is closed, as when a cable is pulled. Whoever waits
// learns nothing until the link is healed or patience ends.
type link struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu    sync.Mutex
	open  *sync.Cond            // signalled when cut or closed changes
	cut   bool                  // guarded by mu
	ended bool                  // guarded by mu
	conns map[net.Conn]struct{} // guarded by mu
}

func newLink(target string) (*link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{listener: listener, target: target, conns: make(map[net.Conn]struct{})}
	l.open = sync.NewCond(&l.mu)
	l.running.Go(l.accept)
	return l, nil
}

func (l *link) url() string { return "nats://" + l.listener.Addr().String() }

// set cuts or heals the link.
func (l *link) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	l.open.Broadcast()
}

// close ends every connection and waits for them.
func (l *link) close() error {
	err := l.listener.Close()
	l.mu.Lock()
	l.ended = true
	for c := range l.conns {
		_ = c.Close() // it may have ended already
	}
	l.open.Broadcast()
	l.mu.Unlock()
	l.running.Wait()
	return err
}

func (l *link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return // closed
		}
		l.running.Go(func() { l.serve(client) })
	}
}

// serve joins one client with the target.
func (l *link) serve(client net.Conn) {
	defer l.drop(client)
	if !l.keep(client) || !l.pass() {
		return
	}
	server, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer l.drop(server)
	if !l.keep(server) {
		return
	}
	var both sync.WaitGroup
	for _, way := range [...]struct{ to, from net.Conn }{{server, client}, {client, server}} {
		both.Go(func() {
			l.copy(way.to, way.from)
			_ = way.to.Close() // so that the other direction ends too
			_ = way.from.Close()
		})
	}
	both.Wait()
}

// copy hands bytes on while the link is whole.
func (l *link) copy(to io.Writer, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !l.pass() {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits until the link is whole, and reports false once it has ended.
func (l *link) pass() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.cut && !l.ended {
		l.open.Wait()
	}
	return !l.ended
}

func (l *link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
	return !l.ended
}

func (l *link) drop(c net.Conn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	_ = c.Close() // it may be closed already
}
