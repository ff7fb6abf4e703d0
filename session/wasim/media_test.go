package wasim_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// Files over HTTP: sent, seen in the other's inbox, fetched, dropped.
func TestPhonesSendAndFetchFiles(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	ok := func(want int, method, path, body string) map[string]any {
		t.Helper()
		status, answer := call(ctx, t, sim, method, path, body)
		require.Equal(t, want, status, "%s %s: %v", method, path, answer)
		return answer
	}
	ana, bob := number(), number()
	for _, phone := range []string{ana, bob} {
		ok(http.StatusCreated, "POST", "/accounts", fmt.Sprintf(`{"phone":%q,"history":[]}`, phone))
	}
	after := 0.0
	for kind, media := range map[string]string{
		"image": fmt.Sprintf(`{"kind":"image","data":%q,"thumbnail":"eA=="}`, base64.StdEncoding.EncodeToString([]byte("a picture"))),
		"voice": `{"kind":"voice","size":1000,"seconds":2}`, "document": `{"kind":"document","size":100001,"fileName":"a.pdf"}`,
		"sticker": `{"kind":"sticker","size":10}`, "video": `{"kind":"video","size":16}`, "audio": `{"kind":"audio","size":17}`,
	} {
		id := ok(http.StatusOK, "POST", "/accounts/"+ana+"/send", fmt.Sprintf(`{"to":%q,"text":"see","media":%s}`, bob, media))["id"]
		answer := ok(http.StatusOK, "GET", fmt.Sprintf("/accounts/%s/inbox?after=%d&wait=20s", bob, int(after)), "")
		after, _ = answer["next"].(float64)
		entries, _ := answer["entries"].([]any)
		require.NotEmpty(t, entries)
		raw, err := json.Marshal(entries[len(entries)-1])
		require.NoError(t, err)
		var entry struct {
			IDs  []string `json:"ids"`
			File struct {
				Kind   string `json:"kind"`
				SHA256 string `json:"sha256"`
				Size   int    `json:"size"`
			} `json:"file"`
		}
		require.NoError(t, json.Unmarshal(raw, &entry))
		require.Equal(t, kind, entry.File.Kind)
		require.Equal(t, id, entry.IDs[0])
		got, _ := ok(http.StatusOK, "GET", fmt.Sprintf("/accounts/%s/media?id=%s", bob, id), "")["raw"].(string)
		require.Len(t, got, entry.File.Size)
		if kind == "image" {
			require.Equal(t, "a picture", got)
		}
		ok(http.StatusNoContent, "DELETE", fmt.Sprintf("/accounts/%s/media?id=%s&keep=true", bob, id), "")
		status, _ := call(ctx, t, sim, "GET", fmt.Sprintf("/accounts/%s/media?id=%s", bob, id), "")
		require.GreaterOrEqual(t, status, http.StatusBadRequest, "the server has dropped it")
	}
	ok(http.StatusNotFound, "GET", "/accounts/"+bob+"/media?id=NONE", "")
	ok(http.StatusBadRequest, "POST", "/accounts/"+ana+"/send", fmt.Sprintf(`{"to":%q,"media":{"kind":"nope","size":1}}`, bob))
	ok(http.StatusBadRequest, "POST", "/accounts/"+ana+"/send", fmt.Sprintf(`{"to":%q,"media":{"kind":"image"}}`, bob))
}
