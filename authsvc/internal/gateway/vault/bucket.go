package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// DefaultBucket is the bucket's name unless told otherwise. Its stream is
// KV_gateway_sessions, and its subjects $KV.gateway_sessions.>.
const DefaultBucket = "gateway_sessions"

const (
	// maxValue bounds an entry, in bytes: a JWT has at most 16 KiB.
	maxValue = 32 << 10
	// markerLife is how long the marker of an expired or deleted entry stays.
	markerLife = time.Minute
)

// Config configures a Vault. The zero value of each field is its default. A bucket
// that there is already keeps what it has more of; see [Open].
type Config struct {
	// Bucket is the bucket's name; default [DefaultBucket].
	Bucket string
	// Lifetime is how long an entry lives that is not written; default 14 days.
	Lifetime time.Duration
	// Replicas is how many brokers hold the bucket; default 1, or as many as do.
	Replicas int
	// MaxBytes bounds the bucket; default 1 GiB, some 500,000 sessions, or what it
	// has. A login that finds it full is refused.
	MaxBytes int64
	// Log takes what operators should know; nil means slog.Default().
	Log *slog.Logger
}

// The defaults of a bucket that is made.
const (
	defaultLifetime = 14 * 24 * time.Hour
	defaultReplicas = 1
	defaultMaxBytes = 1 << 30
)

// stream is the bucket's stream, as JetStream makes it for buckets, but for direct
// gets: any replica answers those, also one that is behind or cut off from the others.
// Its "no such entry" would log out who has just logged in, and its old refresh token
// would look like a stolen one. Without them the leader answers, or nobody.
func (c Config) stream() jetstream.StreamConfig {
	lifetime := cmp.Or(c.Lifetime, defaultLifetime)
	return jetstream.StreamConfig{
		Name: "KV_" + c.Bucket, Subjects: []string{"$KV." + c.Bucket + ".>"},
		Description:       "Sessions of the gateway; values are sealed for the holders of the opaque tokens.",
		MaxMsgsPerSubject: 1, MaxMsgSize: maxValue, MaxAge: lifetime, MaxBytes: cmp.Or(c.MaxBytes, defaultMaxBytes), Discard: jetstream.DiscardNew,
		Duplicates:  min(lifetime, maxDuplicates),
		AllowDirect: false, AllowRollup: true, DenyDelete: true, AllowMsgTTL: true, SubjectDeleteMarkerTTL: markerLife,
		Storage: jetstream.FileStorage, Replicas: cmp.Or(c.Replicas, defaultReplicas),
	}
}

// maxDuplicates is JetStream's default. The window may not be longer than the lifetime.
const maxDuplicates = 2 * time.Minute

// prepare makes the bucket, or widens the one that there is, and returns how it is made.
func (c Config) prepare(ctx context.Context, js jetstream.JetStream) (jetstream.StreamConfig, error) {
	made := c.stream()
	there, err := js.Stream(ctx, made.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = js.CreateStream(ctx, made)
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return made, err
		}
		there, err = js.Stream(ctx, made.Name) // another replica's, with another configuration
	}
	if err != nil {
		return made, err
	}
	made = c.widened(there.CachedInfo().Config)
	_, err = js.UpdateStream(ctx, made)
	return made, err
}

// widened is the stream of a bucket that there is. All replicas of the gateway share it:
// one that starts with less must not end the sessions of the others, or have fewer
// brokers hold them. What is the operator's own choice stays, too.
func (c Config) widened(has jetstream.StreamConfig) jetstream.StreamConfig {
	made := c.stream()
	made.Placement, made.Compression, made.Metadata = has.Placement, has.Compression, has.Metadata
	if lives(has.MaxAge) > lives(made.MaxAge) {
		c.keeps("lifetime", c.Lifetime != 0, made.MaxAge, has.MaxAge, "--max-age="+made.MaxAge.String())
		made.MaxAge = has.MaxAge
		made.Duplicates = min(lives(made.MaxAge), maxDuplicates)
	}
	if has.Replicas > made.Replicas {
		c.keeps("replicas", c.Replicas != 0, made.Replicas, has.Replicas, fmt.Sprintf("--replicas=%d", made.Replicas))
		made.Replicas = has.Replicas
	}
	if holds(has.MaxBytes) > holds(made.MaxBytes) {
		c.keeps("max_bytes", c.MaxBytes != 0, made.MaxBytes, has.MaxBytes, fmt.Sprintf("--max-bytes=%d", made.MaxBytes))
		made.MaxBytes = has.MaxBytes
	}
	return made
}

// keeps tells the operator, where the configuration asks for it, that the bucket does
// not get less, and how to give it less on purpose.
func (c Config) keeps(what string, asked bool, configured, kept any, flag string) {
	if asked {
		c.Log.Warn("the bucket of the sessions has more than is configured, and keeps it: other replicas of the gateway may need it",
			"what", what, "configured", fmt.Sprint(configured), "kept", fmt.Sprint(kept), "bucket", c.Bucket,
			"to_change", "nats stream edit KV_"+c.Bucket+" "+flag)
	}
}

// lives is a lifetime to compare: JetStream's 0 is without end.
func lives(d time.Duration) time.Duration {
	if d <= 0 {
		return time.Duration(1<<63 - 1)
	}
	return d
}

// holds is a size to compare: JetStream's -1, and 0, are without end.
func holds(bytes int64) int64 {
	if bytes <= 0 {
		return 1<<63 - 1
	}
	return bytes
}
