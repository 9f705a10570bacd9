product = Secure Messenger console
skip = Skip to the content
nav = Rooms
nav-account = My account
sign-in = Sign in
sign-out = Sign out
email = Mail address
password = Password
language = Language
theme = Colours
theme-auto = As the browser
theme-light = Light
theme-dark = Dark
apply = Apply
role-user = no role
role-auditor = auditor
role-moderator = moderator
role-sre = SRE
role-admin = administrator
span-seconds = { $count } s
span-minutes = { $count } min
span-hours = { $count } h
span-days = { $count ->
    [one] { $count } day
   *[other] { $count } days
}
sign-in-failed = Address or password is wrong, or the account may not use the console.
sign-in-locked = Too many failed attempts. Try again in { $wait }.
code-title = Second factor
code = Code
code-hint = Six digits from your authenticator. Each code works once.
code-wrong = This code is wrong or was used already. Wait for the next one.
enrol-title = Set up a second factor
enrol-why = Besides your password the console asks for a code from an authenticator on your phone.
enrol-picture = QR code with the secret that is written below
enrol-scan = Scan this picture with your authenticator,
enrol-type = or type this secret into it:
enrol-code = Then type the code it shows.
enrol-confirm = Confirm
factor-title = Second factor
factor-on = A second factor is set up.
factor-add = Set up a second factor
sessions-title = My sessions
session-since = Since
session-seen = Last used
session-from = Address
session-browser = Browser
session-end = End
session-end-others = End all other sessions
session-this = this one
said-signed-out = You are signed out.
said-session-ended = The session has ended.
error-title = That did not work
error-way-on = Back to the console
error-sign-in = Your session is over. Sign in again; nothing was changed.
error-forbidden = Your role does not allow this.
error-not-found = There is nothing here.
error-wrong-method = This address only takes forms of the console.
error-forged = This form is too old or from somewhere else. Nothing was changed; load the page again.
error-malformed = The form could not be read. Nothing was changed; load the page again.
error-too-many = Too many requests. Try again in { $count } s.
error-unavailable = The database does not answer. Nothing was changed; try again in a moment.
error-timed-out = This took too long and was given up. Look whether it happened before you try again.
error-empty = Must not be empty.
error-too-long = This is too long.
error-control = Must not hold line breaks or control characters.
nav-moderation = Moderation
queue-open = Open
queue-mine = Claimed by me
queue-decided = Being decided
queue-resolved = Resolved
queue-empty = Nothing here.
queue-count-open = open
queue-count-claimed = of them claimed
queue-count-waiting = wait for a second moderator
queue-count-resolved = resolved in 7 days
queue-oldest = oldest open
queue-mean = mean time to resolve
next-page = Next page
case-subject = Account
case-about = About
case-reports = Reports
case-state = State
case-since = Open since
case-title = Case: { $name }
case-report-count = { $count ->
    [one] { $count } open report
   *[other] { $count } open reports
}
case-reporter-count = { $count ->
    [one] { $count } reporter
   *[other] { $count } reporters
}
case-flag-count = { $count ->
    [one] { $count } flag
   *[other] { $count } flags
}
about-spam = Spam
about-harassment = Harassment
about-violence = Violence or threats
about-sexual = Sexual content
about-impersonation = Impersonation
about-illegal = Illegal content
about-other = Something else
about-rate = Very many messages
about-duplicate = The same message to many people
about-new-account = New account, unusually busy
state-open = open
state-claimed = claimed by { $name }
state-decided = being decided
state-resolved = resolved
claim = Claim for 15 minutes
release = Give the claim up
somebody-gone = somebody who is gone
evidence-show = Show what was disclosed
evidence-bytes = { $count } bytes that are no text
proof-stored = as the server keeps it
proof-committed = proven by the sender’s commitment
proof-claimed = not verifiable
report-closed = closed
flag = automatic
decide-title = Decide
decide-days = Days of a suspension (7–30)
decide-template = Notice
decide-notice = Own words instead
decide-notify = Tell the account, in its clients and by mail
decide-also-warn = Count a warning as well (suspension and ban)
decide-address = With a ban: also the address last used
do-warn = Warn: told, nothing else changes
do-suspend = Suspend: out for the days above, then back by itself
do-ban = Ban: out for good, once a second moderator agrees
do-dismiss = { $count ->
    [one] Dismiss: close the report, nothing else changes
   *[other] Dismiss: close all { $count } at once, nothing else changes
}
do-mute = { $count ->
    [one] Dismiss the report, raise no new case for 7 days
   *[other] Dismiss all { $count }, raise no new case for 7 days
}
measure-warn = Warning
measure-suspend = { $count ->
    [one] Suspension for { $count } day
   *[other] Suspension for { $count } days
}
measure-ban = Ban
measure-ban-address = Ban with address
measure-dismiss = Dismissed
measure-mute = Dismissed and muted for 7 days
template-spam = Unwanted messages
template-abuse = Insults or threats
template-impersonation = Pretending to be somebody else
template-other = General
template-spam-text = People reported unwanted messages from your account. Please write only to people who want to hear from you.
template-abuse-text = People reported insults or threats from your account. These have no place here.
template-impersonation-text = People reported that your account pretends to be somebody else. Please use your own name.
template-other-text = People reported your account, and a moderator agreed with them.
facts-title = Account
fact-status = State
fact-age = Age
fact-active = Last active
fact-devices = Devices
fact-strikes = Strikes
fact-muted = Muted until
fact-id = Id
status-active = active
status-pending = pending
status-suspended = suspended
status-banned = banned
status-deleted = deleted
history-title = Decisions so far
waiting-title = Waiting for a second moderator
decision-what = What
decision-reason = Reason
decision-by = By
decision-at = When
decision-do = Answer
decision-state = State
decision-agree = Agree
decision-refuse = Refuse
decision-withdraw = Withdraw
decision-waiting = waits for a second moderator
decision-pending = takes effect in seconds
decision-done = in effect
decision-undone = undone
decision-refused = refused
decision-reversed = reversed
decision-failed = the account was gone
undo = Undo
undo-title = Undo the decision
undo-text = takes effect in { $wait }. Until then nothing has happened.
reverse = Reverse …
reverse-do = Reverse the decision
keys-title = Keys
key-down = next
key-up = previous
key-open = open
key-warn = warn
key-suspend = suspend
key-ban = ban
key-dismiss = dismiss
key-undo = undo
key-search = search
key-help = these keys
said-claimed = The case is yours for 15 minutes.
said-released = The case is free again.
said-overtaken = Somebody else was faster. This is how it stands now.
said-undone = Undone; nothing has happened.
said-agreed = You agreed.
said-refused = You refused; the case is open again.
said-reversed = Reversed.
said-waiting = Kept; a second moderator has to agree.
said-reason-missing = A reversal needs a reason.
error-measure = Choose what to do.
error-days = A suspension lasts 7 to 30 days.
error-banned = This account is banned already.
