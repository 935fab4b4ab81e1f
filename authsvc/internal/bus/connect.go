package bus

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"golang.org/x/time/rate"

	"github.com/authbus/authbus/events"
)

// MinServer is the oldest nats-server that is accepted. Older ones have known
// ways around permissions; Debian's package is among them.
const MinServer = "2.12.6"

// Target says how a connection reaches the broker, and as who.
type Target struct {
	// URL is one or more nats:// or tls:// addresses, separated by commas.
	URL string
	// Credentials is the path of a .creds file; empty means none.
	Credentials string
	// Options are added to those of Connect: the embedded broker's, for example.
	Options []nats.Option
}

// CheckURL refuses addresses that cannot be ones of brokers. It does not repeat them,
// because an address may hold a password.
func CheckURL(addresses string) error {
	for address := range strings.SplitSeq(addresses, ",") {
		address = strings.TrimSpace(address)
		if !strings.Contains(address, "://") { // as the client library takes it
			address = "nats://" + address
		}
		u, err := url.Parse(address)
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return errors.New("must be nats:// or tls:// addresses, separated by commas")
		}
		if strings.Contains(u.Hostname(), ":") && !strings.HasPrefix(u.Host, "[") {
			return errors.New("has an address with a colon too many")
		}
		if _, err := strconv.ParseUint(cmp.Or(u.Port(), "4222"), 10, 16); err != nil {
			return errors.New("has a port that is none")
		}
	}
	return nil
}

// CheckCredentials refuses what is no .creds file of a user. An empty path is none at
// all. The file is read again at each connection, so that it can be replaced.
func CheckCredentials(path string) error {
	if path == "" {
		return nil
	}
	contents, err := os.ReadFile(path) //nolint:gosec // the operator's own path
	if err != nil {
		return err
	}
	user, err := nkeys.ParseDecoratedUserNKey(contents)
	if err != nil {
		return fmt.Errorf("%s is no credentials file of a user: %w", path, err)
	}
	user.Wipe()
	return nil
}

// Connect opens a connection that comes back by itself for ever, also where the
// broker cannot be reached yet. name is what the broker's own tools show; replies come
// to an inbox of that name, _INBOX_<name>.>, which nobody else needs to read.
func Connect(name string, target Target, log *slog.Logger) (*nats.Conn, error) {
	h := connHandlers{
		log: log.With("connection", name), often: &rate.Sometimes{First: 3, Interval: 10 * time.Second},
		refused: &rate.Sometimes{First: 1, Interval: time.Minute},
	}
	opts := []nats.Option{
		nats.Name(name), nats.CustomInboxPrefix(events.InboxPrefix + "_" + name),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, time.Second),
		nats.Timeout(3 * time.Second),
		// A connection that is half open is noticed within 30 s.
		nats.PingInterval(15 * time.Second), nats.MaxPingsOutstanding(2),
		// What cannot be sent now is kept in the database, not in a buffer.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(h.disconnected), nats.ReconnectHandler(h.reconnected), nats.ReconnectErrHandler(h.unreachable), nats.ErrorHandler(h.failed),
	}
	if target.Credentials != "" {
		opts = append(opts, nats.UserCredentials(target.Credentials))
	}
	nc, err := nats.Connect(target.URL, append(opts, target.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS as %s: %w", name, err)
	}
	return nc, nil
}

type connHandlers struct {
	log *slog.Logger
	// often bounds what any client of the bus can make us log.
	often *rate.Sometimes
	// refused bounds what attempts to connect log, of which there are several a second.
	refused *rate.Sometimes
}

// unreachable tells why there is no connection. It may be that the broker is away, and
// it may be for good: it wants TLS or does not have it, or does not know who we are.
func (h connHandlers) unreachable(_ *nats.Conn, err error) {
	h.refused.Do(func() { h.log.Warn("NATS cannot be reached, or refuses the connection; trying on", "error", err) })
}

func (h connHandlers) disconnected(_ *nats.Conn, err error) {
	if err != nil {
		h.log.Warn("connection to NATS lost", "error", err)
	}
}

func (h connHandlers) reconnected(nc *nats.Conn) {
	h.log.Info("connected to NATS again", "server", nc.ConnectedServerName())
}

func (h connHandlers) failed(_ *nats.Conn, _ *nats.Subscription, err error) {
	h.often.Do(func() { h.log.Warn("NATS reports an error", "error", err) })
}

// ErrOldServer is returned where the broker is older than [MinServer].
var ErrOldServer = errors.New("nats-server is too old")

// CheckServer refuses a broker older than [MinServer]. nc must be connected.
func CheckServer(nc *nats.Conn) error {
	return checkVersion(nc.ConnectedServerVersion())
}

func checkVersion(found string) error {
	have, want := versionNumbers(found), versionNumbers(MinServer)
	for i := range want {
		if have[i] != want[i] {
			if have[i] < want[i] {
				return fmt.Errorf("%w: found %q, need %s or newer", ErrOldServer, found, MinServer)
			}
			return nil
		}
	}
	return nil
}

// versionNumbers reads "2.12.6" or "2.15.0-RC.1"; what is not a number is -1,
// older than anything.
func versionNumbers(version string) [3]int {
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "-")
	numbers := [3]int{-1, -1, -1}
	for i, part := range strings.SplitN(version, ".", 3) {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		numbers[i] = n
	}
	return numbers
}
