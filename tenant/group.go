package tenant

import "time"

// Role is what a member of a group may do.
type Role string

// The roles. RoleNone is that of somebody who is no member.
const (
	RoleNone       Role = ""
	RoleMember     Role = "member"
	RoleAdmin      Role = "admin"
	RoleSuperAdmin Role = "superadmin" // who made the group
)

// IsAdmin says whether the role is that of an admin.
func (r Role) IsAdmin() bool { return r == RoleAdmin || r == RoleSuperAdmin }

// Participant is a member of a group.
type Participant struct {
	ID    ChatID `json:"id" doc:"Who it is: …@c.us, or …@lid while the phone number is unknown." example:"5511999990001@c.us"`
	LID   string `json:"lid,omitempty" doc:"The person's hidden id, once known." example:"104857600000001@lid"`
	Phone string `json:"phone,omitempty" doc:"The person's phone number in digits, once known." example:"5511999990001"`
	Name  string `json:"name,omitempty" doc:"The person's name, as far as it is known." example:"Ana"`
	Role  Role   `json:"role" enum:"member,admin,superadmin" doc:"What the person may do; superadmin made the group." example:"admin"`
}

// MemberAdd says who may add members to a group.
type MemberAdd string

// The values of MemberAdd.
const (
	MemberAddAll    MemberAdd = "all"
	MemberAddAdmins MemberAdd = "admins"
)

// GroupSettings is what only admins change.
type GroupSettings struct {
	Announce     bool      `json:"announce" doc:"Whether only admins may send messages."`
	Locked       bool      `json:"locked" doc:"Whether only admins may change name, description and picture."`
	JoinApproval bool      `json:"joinApproval" doc:"Whether admins approve who joins by link."`
	MemberAdd    MemberAdd `json:"memberAdd" enum:"all,admins" doc:"Who may add members." example:"all"`
}

// Group is what is known of a group, besides its participants.
type Group struct {
	ID            ChatID
	Name          string
	Description   string
	DescriptionID string // WhatsApp's id of the description: whoever changes it names it
	OwnerID       ChatID // who made it, or empty
	Settings      GroupSettings
	Role          Role // our own; RoleNone: we are no member
	Size          int  // participants
	PictureID     string
	// Rev grows with everything that is stored of the group; 0 for one that is not known.
	Rev int64
	// Digest is the one that the last PutGroup brought, or empty if something has changed since.
	Digest string
}

// PutGroup stores a group as WhatsApp describes it, in the place of all that was known, and journals what is different.
type PutGroup struct {
	Group        Group // Role, Size and Rev are not read
	Participants []Participant
	// Self is our own id, under which we are among the participants.
	Self ChatID
	// Size is how many participants WhatsApp counts, which may be more than it names.
	Size int
	// Version is WhatsApp's version of the list of participants. An older one than what is stored is left out.
	Version string
	// Rev is the group's from before WhatsApp was asked: if something was stored since, the answer may be older, nothing is stored, and
	// the group is among [Result.Missed]. Negative: stored whatever was before.
	Rev int64
	// Created is when the group was made, NamedAt and DescribedAt when it got its name and description; zero if that is not known.
	Created, NamedAt, DescribedAt time.Time
	// Joined says that we became a member just now.
	Joined bool
	By     ChatID
}

// ChangeGroup changes what is known of a group, and journals it. What is applied twice, or is older than what is known, does no
// harm. Of a group that is not known only the name is taken, and it is among [Result.Missed].
type ChangeGroup struct {
	ID   ChatID
	Self ChatID // our own id
	By   ChatID // who did it, if known
	// At orders changes of one kind; zero if it is not known.
	At            time.Time
	Name          *string
	Description   *string
	DescriptionID string
	Announce      *bool
	Locked        *bool
	JoinApproval  *bool
	MemberAdd     *MemberAdd
	PictureID     *string // empty: none

	Added, Removed, Promoted, Demoted []ChatID
	// Version and PrevVersion are WhatsApp's versions of the list of participants, after and before. A gap puts the group among
	// [Result.Missed].
	Version, PrevVersion string
	// Gone says that we are no member any more, whoever else is.
	Gone bool
	// Unsure says that more has changed than is told here.
	Unsure bool
	// Rev, if not nil, is the group's from before WhatsApp was asked. If something else was stored since, it is not known which came
	// first: nothing is changed, and the group is among [Result.Missed].
	Rev *int64
}

func (PutGroup) isChange()    {}
func (ChangeGroup) isChange() {}

// The events of groups.
const (
	EventGroupUpdated      EventType = "group.updated"      // data: GroupUpdated
	EventGroupParticipants EventType = "group.participants" // data: GroupParticipants
)

// The words of GroupUpdated.Changed.
const (
	GroupName        = "name"
	GroupDescription = "description"
	GroupPicture     = "picture"
	GroupSetting     = "settings"
	GroupOwner       = "owner"
)

// GroupUpdated is the data of EventGroupUpdated.
type GroupUpdated struct {
	ID          ChatID        `json:"id" doc:"The group." example:"120363000000000001@g.us"`
	Changed     []string      `json:"changed" nullable:"false" enum:"name,description,picture,settings,owner" doc:"What has changed." example:"name"`
	By          ChatID        `json:"by,omitempty" doc:"Who changed it, if known." example:"5511999990001@c.us"`
	Name        string        `json:"name" doc:"The subject." example:"Family"`
	Description string        `json:"description,omitempty" doc:"The description."`
	PictureID   string        `json:"pictureId,omitempty" doc:"WhatsApp's id of the picture; absent without one."`
	Settings    GroupSettings `json:"settings" doc:"The settings."`
}

// What happened to participants.
const (
	ParticipantsAdded    = "added"
	ParticipantsRemoved  = "removed"
	ParticipantsPromoted = "promoted"
	ParticipantsDemoted  = "demoted"
)

// GroupParticipants is the data of EventGroupParticipants.
type GroupParticipants struct {
	ID           ChatID        `json:"id" doc:"The group." example:"120363000000000001@g.us"`
	Action       string        `json:"action" enum:"added,removed,promoted,demoted" doc:"What happened to them." example:"added"`
	Participants []Participant `json:"participants" nullable:"false" doc:"Those to whom it happened, with the roles that they have now, or had when they were removed."`
	By           ChatID        `json:"by,omitempty" doc:"Who did it, if known." example:"5511999990001@c.us"`
}

// Bounds of groups, in characters and persons.
const (
	MaxGroupName        = 100
	MaxGroupDescription = 2048
	MaxParticipants     = 1024
)

// What became of somebody whom a call named.
const (
	ResultAdded        = "added"
	ResultInvited      = "invited" // may not be added: got an invitation as a message
	ResultAlreadyIn    = "already_in"
	ResultNotOnWA      = "not_on_whatsapp"
	ResultRemoved      = "removed"
	ResultPromoted     = "promoted"
	ResultDemoted      = "demoted"
	ResultNotInGroup   = "not_in_group"
	ResultApproved     = "approved"
	ResultRejected     = "rejected"
	ResultNotRequested = "not_requested"
	ResultFailed       = "failed"
)

// ParticipantResult is what became of one of those whom a call named.
type ParticipantResult struct {
	ID     ChatID `json:"id" doc:"Who it is." example:"5511999990001@c.us"`
	Status string `json:"status" enum:"added,invited,already_in,not_on_whatsapp,removed,promoted,demoted,not_in_group,approved,rejected,not_requested,failed" doc:"What became of it. invited: the person's settings do not let them be added, and an invitation was sent to them as a message." example:"added"`
	Error  string `json:"error,omitempty" doc:"Why it failed, as a sentence." example:"The person left the group recently."`
}

// JoinRequest is somebody's wish to join a group.
type JoinRequest struct {
	ID          ChatID     `json:"id" doc:"Who it is." example:"5511999990001@c.us"`
	LID         string     `json:"lid,omitempty" doc:"The person's hidden id, once known." example:"104857600000001@lid"`
	Phone       string     `json:"phone,omitempty" doc:"The person's phone number in digits, once known." example:"5511999990001"`
	RequestedAt *time.Time `json:"requestedAt,omitempty" doc:"When the person asked."`
}
