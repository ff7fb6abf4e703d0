package devicestore

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"sync"

	"go.mau.fi/whatsmeow/store"
)

// PutAppStateSyncKey implements [store.AppStateSyncKeyStore]: the newer of two keys of one id stays.
func (d *device) PutAppStateSyncKey(ctx context.Context, id []byte, key store.AppStateSyncKey) error {
	d.making.Lock()
	defer d.making.Unlock()
	known, err := d.GetAppStateSyncKey(ctx, id)
	if err != nil || known != nil && known.Timestamp >= key.Timestamp {
		return err
	}
	d.stateKeys.Lock()
	err = d.putValue(ctx, rowID{kindStateKey, keyOf(string(id))}, encodeSyncKey(key))
	d.stateKeys.known = false
	d.stateKeys.Unlock()
	if err != nil {
		return err
	}
	return d.flush(ctx)
}

// stateKeys are the keys of the app state once they have been read: a session asks for them at each of its collections.
type stateKeys struct {
	sync.Mutex // held while they are read or written

	known bool
	all   []namedKey
}

func encodeSyncKey(key store.AppStateSyncKey) []byte {
	value, _ := json.Marshal(key) //nolint:errchkjson // bytes and a number
	return value
}

func (d *device) syncKey(value []byte) (*store.AppStateSyncKey, error) {
	var key store.AppStateSyncKey
	if err := json.Unmarshal(value, &key); err != nil {
		return nil, d.fail(errSpoiled)
	}
	return &key, nil
}

// GetAppStateSyncKey implements [store.AppStateSyncKeyStore].
func (d *device) GetAppStateSyncKey(ctx context.Context, id []byte) (*store.AppStateSyncKey, error) {
	value, err := d.get(ctx, kindStateKey, keyOf(string(id)))
	if err != nil || value == nil {
		return nil, err
	}
	return d.syncKey(value)
}

// namedKey is a key of the app state with its id.
type namedKey struct {
	*store.AppStateSyncKey

	id []byte
}

// syncKeys are all keys, the newest first. They must not be changed.
func (d *device) syncKeys(ctx context.Context) ([]namedKey, error) {
	if err := d.enter(); err != nil {
		return nil, err
	}
	defer d.exit()
	d.stateKeys.Lock()
	defer d.stateKeys.Unlock()
	inside := txnOf(ctx) != nil // what is written there may be taken back
	if d.stateKeys.known && !inside {
		return d.stateKeys.all, nil
	}
	found, err := d.scan(ctx, kindStateKey, "")
	if err != nil {
		return nil, err
	}
	all, err := d.sortedKeys(found)
	if err != nil {
		return nil, err
	}
	d.stateKeys.known, d.stateKeys.all = !inside, all
	return all, nil
}

// sortedKeys are keys that were read, the newest first.
func (d *device) sortedKeys(found map[string][]byte) ([]namedKey, error) {
	all := make([]namedKey, 0, len(found))
	for _, id := range slices.Sorted(maps.Keys(found)) {
		key, err := d.syncKey(found[id])
		if err != nil {
			return nil, err
		}
		all = append(all, namedKey{key, []byte(id)})
	}
	slices.SortStableFunc(all, func(a, b namedKey) int { return cmp.Compare(b.Timestamp, a.Timestamp) })
	return all, nil
}

// GetLatestAppStateSyncKeyID implements [store.AppStateSyncKeyStore].
func (d *device) GetLatestAppStateSyncKeyID(ctx context.Context) ([]byte, error) {
	all, err := d.syncKeys(ctx)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0].id, nil
}

// GetAllAppStateSyncKeys implements [store.AppStateSyncKeyStore].
func (d *device) GetAllAppStateSyncKeys(ctx context.Context) ([]*store.AppStateSyncKey, error) {
	all, err := d.syncKeys(ctx)
	if err != nil {
		return nil, err
	}
	keys := make([]*store.AppStateSyncKey, len(all))
	for i, key := range all {
		keys[i] = key.AppStateSyncKey
	}
	return keys, nil
}

// PutAppStateVersion implements [store.AppStateStore].
func (d *device) PutAppStateVersion(ctx context.Context, name string, version uint64, hash [128]byte) error {
	if err := d.putValue(ctx, rowID{kindStateVersion, keyOf(name)}, numbered(version, hash[:])); err != nil {
		return err
	}
	return d.flush(ctx)
}

// numbered is a value with a number before it.
func numbered(n uint64, value []byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(value)), n), value...)
}

// GetAppStateVersion implements [store.AppStateStore].
func (d *device) GetAppStateVersion(ctx context.Context, name string) (version uint64, hash [128]byte, err error) {
	value, err := d.get(ctx, kindStateVersion, keyOf(name))
	switch {
	case err != nil || value == nil:
		return 0, hash, err
	case len(value) != 8+len(hash):
		return 0, hash, d.fail(errSpoiled)
	default:
		return binary.BigEndian.Uint64(value), [128]byte(value[8:]), nil
	}
}

// DeleteAppStateVersion implements [store.AppStateStore]. The MACs of the collection go, too.
func (d *device) DeleteAppStateVersion(ctx context.Context, name string) error {
	err := d.transact(ctx, func(ctx context.Context) error {
		if err := d.removeAll(ctx, kindStateMAC, keyOf(name, "")); err != nil {
			return err
		}
		return d.remove(ctx, rowID{kindStateVersion, keyOf(name)})
	})
	if err != nil {
		return err
	}
	return d.flush(ctx)
}

// PutAppStateMutationMACs implements [store.AppStateStore]. Versions of a collection only grow: the last one that is put counts.
func (d *device) PutAppStateMutationMACs(ctx context.Context, name string, version uint64, mutations []store.AppStateMutationMAC) error {
	err := d.transact(ctx, func(ctx context.Context) error {
		for _, m := range mutations {
			if err := d.putValue(ctx, rowID{kindStateMAC, keyOf(name, string(m.IndexMAC))}, numbered(version, m.ValueMAC)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.flush(ctx)
}

// DeleteAppStateMutationMACs implements [store.AppStateStore].
func (d *device) DeleteAppStateMutationMACs(ctx context.Context, name string, indexMACs [][]byte) error {
	err := d.transact(ctx, func(ctx context.Context) error {
		for _, index := range indexMACs {
			if err := d.remove(ctx, rowID{kindStateMAC, keyOf(name, string(index))}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.flush(ctx)
}

// GetAppStateMutationMAC implements [store.AppStateStore].
func (d *device) GetAppStateMutationMAC(ctx context.Context, name string, indexMAC []byte) ([]byte, error) {
	value, err := d.get(ctx, kindStateMAC, keyOf(name, string(indexMAC)))
	switch {
	case err != nil || value == nil:
		return nil, err
	case len(value) < 8:
		return nil, d.fail(errSpoiled)
	default:
		return value[8:], nil
	}
}
