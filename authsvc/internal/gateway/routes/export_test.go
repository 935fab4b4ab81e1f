package routes

import (
	"log/slog"

	"github.com/fsnotify/fsnotify"
)

// OpenPolling is Open where nothing can be watched.
func OpenPolling(path string) (*File, error) {
	f, ctx := newFile(path, slog.New(slog.DiscardHandler), nil)
	if err := f.judge(f.read()); err != nil {
		return nil, err
	}
	var none *fsnotify.Watcher
	go f.watch(ctx, none)
	return f, nil
}
