product = Console Secure Messenger
skip = Aller au contenu
nav = Rubriques
nav-account = Mon compte
sign-in = Se connecter
sign-out = Se déconnecter
email = Adresse électronique
password = Mot de passe
language = Langue
theme = Couleurs
theme-auto = Selon le navigateur
theme-light = Claires
theme-dark = Sombres
apply = Appliquer
role-user = sans rôle
role-auditor = auditeur
role-moderator = modérateur
role-sre = SRE
role-admin = administrateur
span-seconds = { $count } s
span-minutes = { $count } min
span-hours = { $count } h
span-days = { $count ->
    [one] { $count } jour
   *[other] { $count } jours
}
sign-in-failed = L’adresse ou le mot de passe est faux, ou le compte n’a pas accès à la console.
sign-in-locked = Trop d’essais manqués. Réessayez dans { $wait }.
code-title = Second facteur
code = Code
code-hint = Six chiffres de votre application d’authentification. Chaque code ne sert qu’une fois.
code-wrong = Ce code est faux ou a déjà servi. Attendez le suivant.
enrol-title = Ajouter un second facteur
enrol-why = En plus du mot de passe, la console demande un code d’une application d’authentification de votre téléphone.
enrol-picture = Code QR contenant le secret écrit dessous
enrol-scan = Scannez cette image avec votre application,
enrol-type = ou saisissez-y ce secret :
enrol-code = Puis saisissez le code qu’elle affiche.
enrol-confirm = Confirmer
factor-title = Second facteur
factor-on = Un second facteur est en place.
factor-add = Ajouter un second facteur
sessions-title = Mes sessions
session-since = Depuis
session-seen = Dernier usage
session-from = Adresse
session-browser = Navigateur
session-end = Terminer
session-end-others = Terminer toutes les autres sessions
session-this = celle-ci
said-signed-out = Vous êtes déconnecté.
said-session-ended = La session est terminée.
error-title = Cela n’a pas marché
error-way-on = Retour à la console
error-sign-in = Votre session est terminée. Reconnectez-vous ; rien n’a été modifié.
error-forbidden = Votre rôle ne le permet pas.
error-not-found = Il n’y a rien ici.
error-wrong-method = Cette adresse n’accepte que les formulaires de la console.
error-forged = Ce formulaire est trop ancien ou vient d’ailleurs. Rien n’a été modifié ; rechargez la page.
error-malformed = Le formulaire est illisible. Rien n’a été modifié ; rechargez la page.
error-too-many = Trop de demandes. Réessayez dans { $count } s.
error-unavailable = La base de données ne répond pas. Rien n’a été modifié ; réessayez dans un instant.
error-timed-out = C’était trop long et a été abandonné. Vérifiez si c’est fait avant de réessayer.
error-empty = Ne doit pas être vide.
error-too-long = C’est trop long.
error-control = Ni retour à la ligne ni caractère de contrôle.
nav-moderation = Modération
queue-open = Ouverts
queue-mine = Pris par moi
queue-decided = En cours de décision
queue-resolved = Résolus
queue-empty = Rien ici.
queue-count-open = ouverts
queue-count-claimed = dont pris en charge
queue-count-waiting = attendent un second modérateur
queue-count-resolved = résolus en 7 jours
queue-oldest = le plus ancien
queue-mean = délai moyen de résolution
next-page = Page suivante
case-subject = Compte
case-about = Motif
case-reports = Signalements
case-state = État
case-since = Ouvert depuis
case-title = Dossier : { $name }
case-report-count = { $count ->
    [one] { $count } signalement ouvert
   *[other] { $count } signalements ouverts
}
case-reporter-count = { $count ->
    [one] { $count } personne
   *[other] { $count } personnes
}
case-flag-count = { $count ->
    [one] { $count } alerte
   *[other] { $count } alertes
}
about-spam = Spam
about-harassment = Harcèlement
about-violence = Violence ou menaces
about-sexual = Contenu sexuel
about-impersonation = Usurpation d’identité
about-illegal = Contenu illégal
about-other = Autre chose
about-rate = Très nombreux messages
about-duplicate = Le même message à beaucoup de gens
about-new-account = Compte récent, activité inhabituelle
state-open = ouvert
state-claimed = pris par { $name }
state-decided = en cours de décision
state-resolved = résolu
claim = Prendre pour 15 minutes
release = Rendre
somebody-gone = quelqu’un qui n’est plus là
evidence-show = Montrer ce qui a été révélé
evidence-bytes = { $count } octets qui ne sont pas du texte
proof-stored = tel que le serveur le garde
proof-committed = prouvé par l’engagement de l’expéditeur
proof-claimed = invérifiable
report-closed = clos
flag = automatique
decide-title = Décider
decide-days = Jours de suspension (7–30)
decide-template = Message
decide-notice = Vos propres mots à la place
decide-notify = Prévenir le compte, dans ses applications et par courrier électronique
decide-also-warn = Compter aussi un avertissement (suspension et bannissement)
decide-address = Avec un bannissement : aussi la dernière adresse utilisée
do-warn = Avertir : prévenu, rien d’autre ne change
do-suspend = Suspendre : dehors pour ces jours, puis de retour de lui-même
do-ban = Bannir : dehors pour de bon, dès qu’un second modérateur approuve
do-dismiss = { $count ->
    [one] Rejeter : clore le signalement, rien d’autre ne change
   *[other] Rejeter : clore les { $count } d’un coup, rien d’autre ne change
}
do-mute = { $count ->
    [one] Rejeter le signalement, pas de nouveau dossier pendant 7 jours
   *[other] Rejeter les { $count }, pas de nouveau dossier pendant 7 jours
}
measure-warn = Avertissement
measure-suspend = { $count ->
    [one] Suspension de { $count } jour
   *[other] Suspension de { $count } jours
}
measure-ban = Bannissement
measure-ban-address = Bannissement avec adresse
measure-dismiss = Rejeté
measure-mute = Rejeté et muet pendant 7 jours
template-spam = Messages indésirables
template-abuse = Insultes ou menaces
template-impersonation = Usurpation d’identité
template-other = Général
template-spam-text = Des personnes ont signalé des messages indésirables de votre compte. N’écrivez qu’à ceux qui souhaitent vous lire.
template-abuse-text = Des personnes ont signalé des insultes ou des menaces de votre compte. Elles n’ont pas leur place ici.
template-impersonation-text = Des personnes ont signalé que votre compte se fait passer pour quelqu’un d’autre. Utilisez votre propre nom.
template-other-text = Des personnes ont signalé votre compte, et un modérateur leur a donné raison.
facts-title = Compte
fact-status = État
fact-age = Âge
fact-active = Dernière activité
fact-devices = Appareils
fact-strikes = Sanctions
fact-muted = Muet jusqu’au
fact-id = Identifiant
status-active = actif
status-pending = en attente
status-suspended = suspendu
status-banned = banni
status-deleted = supprimé
history-title = Décisions passées
waiting-title = En attente d’un second modérateur
decision-what = Quoi
decision-reason = Motif
decision-by = Par
decision-at = Quand
decision-do = Réponse
decision-state = État
decision-agree = Approuver
decision-refuse = Refuser
decision-withdraw = Retirer
decision-waiting = attend un second modérateur
decision-pending = prend effet dans quelques secondes
decision-done = en vigueur
decision-undone = annulée
decision-refused = refusée
decision-reversed = levée
decision-failed = le compte avait disparu
undo = Annuler
undo-title = Annuler la décision
undo-text = prend effet dans { $wait }. D’ici là, rien ne s’est passé.
reverse = Lever …
reverse-do = Lever la décision
keys-title = Touches
key-down = suivant
key-up = précédent
key-open = ouvrir
key-warn = avertir
key-suspend = suspendre
key-ban = bannir
key-dismiss = rejeter
key-undo = annuler
key-search = chercher
key-help = ces touches
said-claimed = Le dossier est à vous pour 15 minutes.
said-released = Le dossier est de nouveau libre.
said-overtaken = Quelqu’un a été plus rapide. Voici où l’on en est.
said-undone = Annulé ; rien ne s’est passé.
said-agreed = Vous avez approuvé.
said-refused = Vous avez refusé ; le dossier est de nouveau ouvert.
said-reversed = Décision levée.
said-waiting = C’est noté ; un second modérateur doit approuver.
said-reason-missing = Il faut un motif.
error-measure = Choisissez quoi faire.
error-days = Une suspension dure de 7 à 30 jours.
error-banned = Ce compte est déjà banni.
