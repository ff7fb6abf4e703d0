package tenant

// EventSyncProgress is live only: it is in no journal and has no seq. Data: SyncProgress.
const EventSyncProgress EventType = "sync.progress"

// SyncProgress is the data of EventSyncProgress.
type SyncProgress struct {
	Stage string `json:"stage" enum:"groups,contacts,settings" doc:"What is being taken over." example:"groups"`
	Done  int    `json:"done" doc:"How many are stored." example:"20"`
	Total int    `json:"total" doc:"How many there are; 0 while that is not known." example:"57"`
}
